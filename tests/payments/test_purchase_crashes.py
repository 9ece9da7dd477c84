"""A server that dies at any await of a purchase, and another that takes over: credited exactly once."""

import pytest

from gollem.payments.watermark import OVERLAP_MS
from tests.fakes.crashes import CrashError, Fuse, stride
from tests.payments.shop import DAY_MS, ON_EVERY_LEDGER, USD, Shop

FEWEST_AWAITS = 30  # of the whole way; a guard against a test that crashes nowhere
PARTS = 4  # so that no test takes long


@ON_EVERY_LEDGER
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
async def test_faults_16_46_47_a_crash_at_every_await_of_a_purchase(shop: Shop, after: bool, part: int) -> None:
    """From the call that creates it to the event that is done; the client repeats its call."""
    number = part
    while await _crashes_at(shop, number, after):
        number += PARTS * stride(shop.ledger)
    assert number >= FEWEST_AWAITS


async def _crashes_at(shop: Shop, number: int, after: bool) -> bool:
    """One purchase of a user of its own. Whether the fuse blew."""
    user = f"user-{number}"
    shop.clock.advance_ms(2 * OVERLAP_MS)  # so that each poll reads what is of this purchase, and not all before it
    fuse = Fuse(number, after=after)
    dying = Shop(fuse.wrap(shop.ledger), fuse.wrap(shop.gateway), shop.clock, shop.stripe)
    try:
        await _buy(dying, user)
    except CrashError:
        await _take_over(shop, user)
    bought = await shop.purchase(user=user)
    payments = [one for one in shop.stripe.all("payment_intent") if one["metadata"]["purchase_id"] == bought.id]
    assert len(payments) == 1, f"await {number}"
    assert (await shop.available(user), bought.state) == (5 * USD, "CREDITED"), f"await {number}"
    credits_of_it = [line for line in await shop.ledger.user_statement(user) if line.kind == "purchase"]
    assert len(credits_of_it) == 1
    return fuse.is_blown


async def _buy(shop: Shop, user: str) -> None:
    created = await shop.purchases.create(user, "buy-1", 500)
    shop.stripe.pay(created.purchase.text("payment_id"))
    await shop.catch_up()


async def _take_over(dead: Shop, user: str) -> None:
    """Fresh objects over the same stores. What Stripe was telling when the server died, it does not tell again."""
    shop = Shop(dead.ledger, dead.gateway, dead.clock, dead.stripe)
    shop.clock.advance_ms(60_000)
    created = await shop.purchases.create(user, "buy-1", 500)
    payment_id = created.purchase.text("payment_id")
    if shop.stripe.object("payment_intent", payment_id)["status"] == "requires_payment_method":
        shop.stripe.pay(payment_id)
    shop.stripe.webhooks.take()
    await shop.inbox.poll()
    await shop.catch_up()


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
async def test_a_purchase_that_nobody_repeats_is_cancelled(shop: Shop, after: bool) -> None:
    """The server died while it created the purchase, and its client went away: nothing is owed and nothing is left
    that could be paid."""
    number = 0
    while True:
        fuse = Fuse(number, after=after)
        dying = Shop(fuse.wrap(shop.ledger), fuse.wrap(shop.gateway), shop.clock, shop.stripe)
        try:
            await dying.purchases.create(f"user-{number}", "buy-1", 500)
            break
        except CrashError:
            number += 1
    shop.clock.advance_ms(DAY_MS)
    await shop.purchases.sweep()
    await shop.purchases.sweep()
    assert await shop.ledger.records("purchase", "CREATED") == []
    assert {one["status"] for one in shop.stripe.all("payment_intent")} == {"canceled"}
    assert number >= 5
