"""A server that dies at any await of a look at the books, and another that looks again: each movement booked once."""

import pytest

from gollem.ledger.memory import MemoryLedger
from gollem.payments.watermark import OVERLAP_MS
from tests.fakes.crashes import CrashError, Fuse
from tests.payments.office import DAY_MS, MINUTE_MS, Office
from tests.payments.shop import ON_EVERY_LEDGER, USD

FEWEST_AWAITS = 30  # of the whole way; a guard against a test that crashes nowhere


@ON_EVERY_LEDGER
@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
async def test_a_crash_at_every_await(office: Office, after: bool) -> None:
    """At each in memory; at some of them on the stores, which take their time."""
    number, step = 0, 1 if isinstance(office.ledger, MemoryLedger) else 11
    while await _crashes_at(office, number, after):
        number += step
    assert number >= FEWEST_AWAITS


async def _crashes_at(office: Office, number: int, after: bool) -> bool:
    """A charge, a fee and something odd that nobody has booked. Whether the fuse blew."""
    office.clock.advance_ms(2 * OVERLAP_MS + DAY_MS)
    fees_atoms, odd_atoms = await office.atoms("X:stripe_fee"), await office.atoms("S:unmatched")
    user = f"user-{number}"
    created = await office.shop.purchases.create(user, "buy-1", 500)
    office.stripe.pay(created.purchase.text("payment_id"))
    office.stripe.take_fee(200)
    odd = office.stripe.move_oddly(-100)
    office.clock.advance_ms(10 * MINUTE_MS)
    fuse = Fuse(number, after=after)
    dying = Office(fuse.wrap(office.ledger), fuse.wrap(office.gateway), office.clock, office.stripe)
    try:
        await dying.books.match_movements()
    except CrashError:
        await office.match_later(MINUTE_MS)
    assert await office.shop.available(user) == 5 * USD, f"await {number}"
    assert await office.atoms("X:stripe_fee") == fees_atoms - 245 * USD // 100, f"await {number}"
    assert await office.atoms("S:unmatched") == odd_atoms - USD, f"await {number}"
    assert (await office.kept())["UNMATCHED"] == [odd], f"await {number}"
    await office.resolve(odd, "E:adjust")
    await office.match_later(MINUTE_MS)
    return fuse.is_blown
