"""Top-ups: one for each crossing, never above the month's cap, and none with a card that is declined."""

import asyncio
from contextlib import suppress
from itertools import count

import pytest
from msgspec.structs import replace

from gollem.errors import InvalidField, PaymentsUnavailable, WrongState
from gollem.ledger import Posted, Transaction, records, rules
from tests.fakes.crashes import CrashError, Fuse, stride
from tests.fakes.stripe import Fault
from tests.payments.shop import DAY_MS, MINUTE_MS, ON_EVERY_LEDGER, ON_ONE_LEDGER, USD, Shop

CREATE = "POST /v1/payment_intents"
PARTS = 2  # of the awaits, so that no test takes long


async def ready(shop: Shop, *, left_usd: int = 3, cap_cents: int = 10_000, user: str = "alice") -> None:
    """A card is kept, fewer credits than 5 USD are left, and top-ups of 20 USD are on."""
    await shop.buy(500, user=user, purchase_id="first", keep_card=True)
    await shop.spend((5 - left_usd) * USD, user, f"spent-by-{user}")
    await shop.top_ups.configure(user, 5 * USD, 2_000, cap_cents)


async def spend_all(shop: Shop, order_id: str) -> None:
    await shop.spend(await shop.available(), order_id=order_id)
    shop.top_ups.note_user("alice")


def charged(shop: Shop) -> list[int]:
    """What the kept card has paid, in cents."""
    paid = [one for one in shop.stripe.all("payment_intent") if one["status"] == "succeeded"]
    return [one["amount"] for one in paid if one["amount"] != 500]


@ON_EVERY_LEDGER
async def test_one_crossing_is_one_top_up(shop: Shop) -> None:
    await ready(shop)
    assert await shop.top_ups.look() == 1
    assert (await shop.available(), charged(shop)) == (23 * USD, [2_000])
    shop.top_ups.note_user("alice")
    assert await shop.top_ups.look() == 0  # above the threshold
    await shop.catch_up()  # its events come too
    assert (await shop.available(), (await shop.top_ups.find("alice")).month_cents) == (23 * USD, 2_000)

    await spend_all(shop, "order-2")
    assert await shop.top_ups.look() == 1
    assert (await shop.available(), charged(shop)) == (20 * USD, [2_000, 2_000])


async def test_enough_is_not_topped_up(shop: Shop) -> None:
    await ready(shop, left_usd=5)
    assert await shop.top_ups.sweep() == 0
    assert charged(shop) == []


async def test_the_sweep_sees_whom_nobody_noted(shop: Shop) -> None:
    await ready(shop)
    heir = Shop(shop.ledger, shop.gateway, shop.clock, shop.stripe)
    heir.top_ups.note_user("alice")  # not known to have any yet: costs nothing
    assert await heir.top_ups.look() == 0
    assert await heir.top_ups.sweep() == 1
    await shop.spend(await shop.available(), order_id="order-2")
    heir.top_ups.note_user("alice")
    assert await heir.top_ups.look() == 1


async def test_several_in_a_row_while_one_is_not_enough(shop: Shop) -> None:
    await shop.buy(500, keep_card=True)
    await shop.top_ups.configure("alice", 50 * USD, 2_000, 10_000)
    assert await shop.top_ups.look() == 3
    assert await shop.available() == 65 * USD


@ON_EVERY_LEDGER
async def test_the_cap_of_a_month(shop: Shop) -> None:
    await ready(shop, cap_cents=4_500)
    for number in range(4):
        await shop.top_ups.look()
        await spend_all(shop, f"order-{number}")
    assert charged(shop) == [2_000, 2_000]
    month = "202311"
    assert await shop.alerts() == [f"top_up_cap:alice:{month}"]

    shop.clock.advance_ms(31 * DAY_MS)
    assert await shop.top_ups.sweep() == 1
    assert charged(shop) == [2_000, 2_000, 2_000]
    assert (await shop.top_ups.find("alice")).month_cents == 2_000


@ON_EVERY_LEDGER
async def test_triggers_on_many_servers_make_one_top_up_and_keep_the_cap(shop: Shop) -> None:
    await ready(shop, cap_cents=4_500)
    servers = [Shop(shop.ledger, shop.gateway, shop.clock, shop.stripe) for _ in range(8)]
    for number in range(5):
        await asyncio.gather(*(server.top_ups.sweep() for server in servers))
        await shop.top_ups.sweep()
        assert len(charged(shop)) == min(number + 1, 2)
        await spend_all(shop, f"order-{number}")
    assert charged(shop) == [2_000, 2_000]
    assert len(shop.payments()) == 3


async def test_a_declined_card_switches_them_off(shop: Shop) -> None:
    await ready(shop)
    await _turn_card(shop, "pm_card_visa_chargeDeclined")
    assert await shop.top_ups.look() == 0
    seen = await shop.top_ups.find("alice")
    assert (seen.is_on, seen.month_cents, await shop.available()) == (False, 0, 3 * USD)
    assert [alert.partition(":")[0] for alert in await shop.alerts()] == ["top_up"]
    assert shop.stripe.object("payment_intent", shop.payments()[-1])["status"] == "canceled"

    shop.top_ups.note_user("alice")
    assert await shop.top_ups.look() + await shop.top_ups.sweep() == 0
    assert len(shop.payments()) == 2  # the card is not tried again

    await _turn_card(shop, "pm_card_visa")
    await shop.top_ups.configure("alice", 5 * USD, 2_000, 10_000)
    assert await shop.top_ups.look() == 1
    assert await shop.available() == 23 * USD


async def test_a_card_that_wants_its_owner_counts_as_declined(shop: Shop) -> None:
    await ready(shop)
    await _turn_card(shop, "pm_card_authenticationRequired")
    assert await shop.top_ups.look() == 0
    assert not (await shop.top_ups.find("alice")).is_on


async def _lose_card(shop: Shop) -> None:
    """It was removed at Stripe."""
    card = await shop.ledger.find_record(records.CUSTOMER, "alice")
    assert card is not None
    lost = replace(card, fields={**card.fields, "card_id": "pm_none"})
    await shop.ledger.post(rules.noted(card, lost, shop.clock.now_ms()))


async def _turn_card(shop: Shop, into: str) -> None:
    card = await shop.ledger.find_record(records.CUSTOMER, "alice")
    assert card is not None
    shop.stripe.turn_card(card.text("card_id"), into)


@pytest.mark.parametrize(
    "fault", [Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.RATE_LIMITED]
)
@pytest.mark.parametrize("later_ms", [2 * MINUTE_MS, 25 * 3_600_000])
async def test_one_charge_whatever_becomes_of_the_call(shop: Shop, fault: Fault, later_ms: int) -> None:
    await ready(shop)
    shop.stripe.faults.next(CREATE, fault)
    assert await shop.top_ups.look() == 0
    assert (await shop.top_ups.find("alice")).month_cents == 2_000  # until it is known
    shop.clock.advance_ms(later_ms)
    assert await shop.top_ups.sweep() == 1
    await shop.catch_up()
    assert (await shop.available(), charged(shop)) == (23 * USD, [2_000])


@ON_EVERY_LEDGER
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
async def test_a_crash_at_every_await_of_a_top_up(shop: Shop, after: bool, part: int) -> None:
    await ready(shop, left_usd=0, cap_cents=1_000_000)
    for number in count(part, PARTS * stride(shop.ledger)):
        paid, month_cents = len(charged(shop)), (await shop.top_ups.find("alice")).month_cents
        is_blown = await _sweeps_and_dies(shop, number, after)
        seen = await shop.top_ups.find("alice")
        assert (seen.is_on, seen.month_cents, len(charged(shop))) == (True, month_cents + 2_000, paid + 1)
        assert await shop.available() == 20 * USD
        await shop.spend(20 * USD, order_id=f"order-{number}")
        if not is_blown:
            break
    assert number >= 10


@ON_EVERY_LEDGER
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
@pytest.mark.parametrize("is_gone", [False, True], ids=["declined", "unknown card"])
async def test_a_crash_at_every_await_of_a_top_up_that_is_refused(
    shop: Shop, after: bool, part: int, is_gone: bool
) -> None:
    """Of a card that is declined there is a payment, which is cancelled; of one that is gone there is none."""
    await ready(shop)
    await (_lose_card(shop) if is_gone else _turn_card(shop, "pm_card_visa_chargeDeclined"))
    for number in count(part, PARTS * stride(shop.ledger)):
        await shop.top_ups.configure("alice", 5 * USD, 2_000, 10_000)
        is_blown = await _sweeps_and_dies(shop, number, after)
        assert not (await shop.top_ups.find("alice")).is_on
        if not is_blown:
            break
    assert (charged(shop), await shop.available()) == ([], 3 * USD)
    assert number >= 10
    await shop.top_ups.configure("alice", 5 * USD, 2_000, 10_000)
    for _ in range(3):
        await shop.top_ups.sweep()
    assert (await shop.top_ups.find("alice")).month_cents == 0
    assert await shop.ledger.records(records.PURCHASE, "CREATED") == []


async def _sweeps_and_dies(shop: Shop, number: int, after: bool) -> bool:
    """And others go on. Whether it died."""
    fuse = Fuse(number, after=after)
    dying = Shop(fuse.wrap(shop.ledger), fuse.wrap(shop.gateway), shop.clock, shop.stripe)
    with suppress(CrashError):
        await dying.top_ups.sweep()
    shop.clock.advance_ms(2 * MINUTE_MS)
    for _ in range(2):
        await shop.top_ups.sweep()
    await shop.catch_up()
    return fuse.is_blown


async def test_who_is_frozen_is_not_charged(shop: Shop) -> None:
    await ready(shop)
    await shop.ledger.post(rules.user_frozen("f-1", "alice", None, shop.clock.now_ms()))
    assert await shop.top_ups.look() == 0
    assert charged(shop) == []


async def test_switched_off(shop: Shop) -> None:
    await ready(shop)
    assert not (await shop.top_ups.switch_off("alice")).is_on
    shop.top_ups.note_user("alice")
    assert await shop.top_ups.look() + await shop.top_ups.sweep() == 0
    assert not (await shop.top_ups.switch_off("nobody")).is_on
    assert charged(shop) == []


async def _reserved(shop: Shop, **ready_with: int) -> None:
    """A top-up is under way, and Stripe is away before its payment is made."""
    await ready(shop, **ready_with)
    assert await shop.with_gateway(create_payment=_away).top_ups.sweep() == 0
    assert (await shop.top_ups.find("alice")).month_cents == 2_000


async def _away(*_args: object) -> object:
    raise PaymentsUnavailable("away")


async def _open_purchases(shop: Shop) -> int:
    return len(await shop.ledger.records(records.PURCHASE, "CREATED"))


async def _settles(shop: Shop) -> None:
    """Until no call can be on its way any more."""
    shop.clock.advance_ms(DAY_MS)
    await shop.top_ups.sweep()
    await shop.purchases.sweep()


async def test_what_was_switched_off_is_not_charged_when_the_payment_provider_is_back(shop: Shop) -> None:
    await _reserved(shop)
    await shop.top_ups.switch_off("alice")
    await shop.top_ups.configure("alice", 1 * USD, 200, 300)  # and 3 USD are left
    assert await shop.top_ups.look() == 0
    await _settles(shop)
    assert (charged(shop), await _open_purchases(shop)) == ([], 0)
    await spend_all(shop, "order-2")
    assert await shop.top_ups.look() == 1
    assert (charged(shop), (await shop.top_ups.find("alice")).month_cents) == ([200], 200)


async def test_switching_off_gives_up_a_top_up_that_nobody_has_begun(shop: Shop) -> None:
    """Its server died before anything was sent: cancelled at once, and it counts no more."""
    await ready(shop)

    async def dies(*_args: object) -> object:
        raise PaymentsUnavailable("away")

    dying = shop.with_ledger()
    dying.top_ups._purchases.order = dies  # type: ignore[method-assign, assignment]
    assert await dying.top_ups.sweep() == 0
    assert (await shop.top_ups.switch_off("alice")).month_cents == 0
    assert (charged(shop), await _open_purchases(shop)) == ([], 0)
    await shop.top_ups.configure("alice", 5 * USD, 2_000, 10_000)
    assert await shop.top_ups.look() == 1
    assert charged(shop) == [2_000]


async def test_switching_off_works_while_the_payment_provider_is_away(shop: Shop) -> None:
    await _reserved(shop)
    away = shop.with_gateway(create_payment=_away, find_payment=_away)
    assert not (await away.top_ups.switch_off("alice")).is_on
    await _settles(shop)
    assert (charged(shop), await _open_purchases(shop)) == ([], 0)


@pytest.mark.parametrize(
    ("threshold", "amount", "cap"),
    [(5 * USD, 1_000, 10_000), (1 * USD, 2_000, 10_000)],
    ids=["another amount", "a lower threshold"],
)
async def test_a_reservation_of_another_wish_is_called_off(shop: Shop, threshold: int, amount: int, cap: int) -> None:
    await _reserved(shop)
    await shop.top_ups.configure("alice", threshold, amount, cap)
    assert await shop.top_ups.look() == 0
    await _settles(shop)
    assert 2_000 not in charged(shop)


@ON_EVERY_LEDGER
async def test_a_reservation_above_a_lower_cap_is_called_off(shop: Shop) -> None:
    await ready(shop)
    assert await shop.top_ups.look() == 1
    await spend_all(shop, "order-2")
    assert await shop.with_gateway(create_payment=_away).top_ups.sweep() == 0
    await shop.top_ups.configure("alice", 5 * USD, 2_000, 2_000)
    assert await shop.top_ups.look() == 0
    await _settles(shop)
    assert charged(shop) == [2_000]


async def test_a_reservation_of_who_is_frozen_by_now_is_called_off(shop: Shop) -> None:
    await _reserved(shop)
    await shop.desk.freeze("f-1", "alice")
    assert await shop.top_ups.sweep() == 0
    await _settles(shop)
    assert (charged(shop), await _open_purchases(shop)) == ([], 0)


async def test_a_payment_that_was_made_and_lost_is_booked_though_it_is_not_wanted_any_more(shop: Shop) -> None:
    await ready(shop)
    shop.stripe.faults.next(CREATE, Fault.LOST_REPLY)
    assert await shop.top_ups.look() == 0
    await shop.top_ups.switch_off("alice")
    assert (charged(shop), await shop.available()) == ([2_000], 23 * USD)
    assert (await shop.top_ups.find("alice")).month_cents == 2_000


@ON_EVERY_LEDGER
async def test_switched_off_while_somebody_else_changes_them(shop: Shop) -> None:
    """The other change comes first: it is read again, and they are off."""
    await ready(shop)
    others = [lambda: shop.top_ups.configure("alice", 6 * USD, 3_000, 10_000)]

    async def post(transaction: Transaction) -> Posted:
        if others:
            await others.pop()()
        return await shop.ledger.post(transaction)

    await shop.with_ledger(post=post).top_ups.switch_off("alice")
    seen = await shop.top_ups.find("alice")
    assert (seen.is_on, seen.amount_cents) == (False, 3_000)


@ON_ONE_LEDGER
async def test_without_a_kept_card_there_are_none(shop: Shop) -> None:
    await shop.buy(500)
    with pytest.raises(WrongState, match="no card is kept"):
        await shop.top_ups.configure("alice", 5 * USD, 2_000, 10_000)


@ON_ONE_LEDGER
@pytest.mark.parametrize(
    ("threshold", "cents", "cap", "field"),
    [
        (0, 2_000, 10_000, "threshold"),
        (2**62, 2_000, 10_000, "threshold"),
        (USD, 99, 10_000, "amount_usd"),
        (USD, 100_001, 1_000_000, "amount_usd"),
        (USD, 2_000, 1_999, "monthly_cap_usd"),
        (USD, 2_000, 10_000_001, "monthly_cap_usd"),
        (USD, 20.0, 10_000, "amount_usd"),
        (True, 2_000, 10_000, "threshold"),
    ],
)
async def test_limits_that_cannot_be(shop: Shop, threshold: int, cents: int, cap: int, field: str) -> None:
    with pytest.raises(InvalidField, match=field):
        await shop.top_ups.configure("alice", threshold, cents, cap)


@ON_ONE_LEDGER
async def test_only_so_many_notes_are_kept(shop: Shop) -> None:
    await ready(shop)
    shop.top_ups._max_noted = 0
    shop.top_ups._noted.clear()
    shop.top_ups.note_user("alice")
    assert await shop.top_ups.look() == 0
    assert await shop.top_ups.sweep() == 1
