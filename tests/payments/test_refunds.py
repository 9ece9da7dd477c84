"""Money back to cards: out of credits that are not spent, and back to them when a bank will not take it."""

import asyncio
from contextlib import suppress
from itertools import count

import pytest

from gollem.errors import (
    AccountFrozen,
    InsufficientCredits,
    InvalidField,
    KeyReused,
    OutcomeUnknown,
    PaymentRefused,
    PaymentsUnavailable,
    WrongState,
)
from gollem.ledger import records
from gollem.payments.types import Refund
from tests.fakes.crashes import CrashError, Fuse, stride
from tests.fakes.stripe import Fault
from tests.payments.shop import MINUTE_MS, ON_EVERY_LEDGER, ON_ONE_LEDGER, USD, Shop

CREATE = "POST /v1/refunds"


async def stored(shop: Shop) -> str:
    return (await shop.purchase()).id


async def state(shop: Shop, refund_id: str = "rf-1") -> str:
    refund = await shop.ledger.find_record(records.REFUND, refund_id)
    return refund.state if refund else "ABSENT"


async def stripe_atoms(shop: Shop) -> int:
    """What our books say that Stripe has of ours."""
    return -await shop.ledger.account_atoms("A:stripe")


@ON_EVERY_LEDGER
async def test_fault_49_partial_and_full(shop: Shop) -> None:
    await shop.buy(2_500)
    assert await shop.refunds.create("rf-1", await stored(shop), 700, "eve")
    assert not await shop.refunds.create("rf-1", await stored(shop), 700, "mallory")  # it is known already
    entry = await shop.ledger.find_entry("rf_init:rf-1")
    assert entry
    assert entry.detail == "eve"
    assert (await state(shop), await shop.available(), await stripe_atoms(shop)) == ("SUCCEEDED", 18 * USD, 18 * USD)
    await shop.refunds.create("rf-2", await stored(shop), 1_800)
    assert (await shop.available(), await stripe_atoms(shop)) == (0, 0)

    with pytest.raises(InvalidField, match="amount"):
        await shop.refunds.create("rf-3", await stored(shop), 1)
    await shop.catch_up()
    assert [one["amount"] for one in shop.stripe.all("refund")] == [700, 1_800]
    assert (await shop.purchases.find("alice", "buy-1")).refunded_cents == 2_500
    assert await shop.alerts() == []


@ON_EVERY_LEDGER
async def test_fault_49_failed_after_it_succeeded(shop: Shop) -> None:
    await shop.buy(2_500)
    await shop.refunds.create("rf-1", await stored(shop), 700)
    shop.stripe.fail_refund(shop.stripe.all("refund")[0]["id"])
    await shop.catch_up()
    assert (await state(shop), await shop.available(), await stripe_atoms(shop)) == ("FAILED", 25 * USD, 25 * USD)
    await shop.refunds.create("rf-2", await stored(shop), 2_500)  # is possible again
    assert await shop.available() == 0


async def test_fault_49_pending_then_arrived_or_failed(shop: Shop) -> None:
    await shop.buy(2_500)
    shop.stripe.refunds.take_days = True
    for number, end in enumerate((shop.stripe.settle_refund, shop.stripe.fail_refund)):
        await shop.refunds.create(f"rf-{number}", await stored(shop), 700)
        assert await state(shop, f"rf-{number}") == "INITIATED"
        end(shop.stripe.all("refund")[number]["id"])
        await shop.catch_up()
    assert (await state(shop, "rf-0"), await state(shop, "rf-1")) == ("SUCCEEDED", "FAILED")
    assert await shop.available() == 18 * USD


async def test_fault_49_more_than_is_unspent(shop: Shop) -> None:
    await shop.buy(2_500)
    await shop.spend(20 * USD)
    with pytest.raises(InsufficientCredits):
        await shop.refunds.create("rf-1", await stored(shop), 501)
    assert shop.stripe.all("refund") == []
    assert await shop.refunds.create("rf-1", await stored(shop), 500)
    assert await state(shop) == "SUCCEEDED"
    assert await shop.available() == 0


@ON_EVERY_LEDGER
async def test_who_is_frozen_gets_nothing_back(shop: Shop) -> None:
    created = await shop.buy(2_500)
    shop.stripe.dispute(created.purchase.text("payment_id"), 100)
    await shop.catch_up()
    with pytest.raises(AccountFrozen):
        await shop.refunds.create("rf-1", await stored(shop), 100)


@ON_ONE_LEDGER
@pytest.mark.parametrize("cents", [0, -1, 1.0, "1", True])
async def test_amounts_that_cannot_be(shop: Shop, cents: int) -> None:
    await shop.buy(2_500)
    with pytest.raises(InvalidField):
        await shop.refunds.create("rf-1", await stored(shop), cents)


async def test_unknown_and_unpaid_purchases(shop: Shop) -> None:
    await shop.purchases.create("alice", "buy-1", 2_500)
    for purchase_id in ("none", await stored(shop)):
        with pytest.raises(WrongState):
            await shop.refunds.create("rf-1", purchase_id, 100)


async def test_one_id_is_one_refund(shop: Shop) -> None:
    await shop.buy(2_500)
    purchase_id = await stored(shop)
    results = await asyncio.gather(
        *(shop.refunds.create("rf-1", purchase_id, 700) for _ in range(10)), return_exceptions=True
    )
    assert {type(one) for one in results if isinstance(one, BaseException)} <= {OutcomeUnknown}
    await shop.refunds.create("rf-1", await stored(shop), 700)
    with pytest.raises(KeyReused):
        await shop.refunds.create("rf-1", await stored(shop), 800)
    assert len(shop.stripe.all("refund")) == 1
    assert await shop.available() == 18 * USD


@ON_EVERY_LEDGER
async def test_refused_by_stripe_gives_the_credits_back(shop: Shop) -> None:
    """Somebody has refunded by hand already."""
    created = await shop.buy(2_500)
    shop.stripe.refund_by_hand(created.purchase.text("payment_id"), 2_500)
    with pytest.raises(PaymentRefused):
        await shop.refunds.create("rf-1", await stored(shop), 700)
    assert (await state(shop), await shop.available()) == ("FAILED", 25 * USD)
    assert not await shop.refunds.create("rf-1", await stored(shop), 700)  # and asks for nothing
    assert await state(shop) == "FAILED"
    assert await shop.refunds.sweep() == 0


@ON_EVERY_LEDGER
@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
async def test_a_crash_at_every_await_of_a_refund_that_is_refused(shop: Shop, after: bool) -> None:
    """Whoever comes next gives the credits back, once."""
    for number in count(0, stride(shop.ledger)):
        user, refund_id = f"user-{number}", f"rf-{number}"
        created = await shop.buy(500, user=user)
        shop.stripe.refund_by_hand(created.purchase.text("payment_id"), 500)
        fuse = Fuse(number, after=after)
        dying = Shop(fuse.wrap(shop.ledger), fuse.wrap(shop.gateway), shop.clock, shop.stripe)
        with suppress(CrashError, PaymentRefused):
            await dying.refunds.create(refund_id, created.purchase.id, 200)
        shop.clock.advance_ms(MINUTE_MS)
        with suppress(PaymentRefused):
            await shop.refunds.create(refund_id, created.purchase.id, 200)
        assert (await state(shop, refund_id), await shop.available(user)) == ("FAILED", 5 * USD)
        if not fuse.is_blown:
            break
    assert number >= 10


@ON_EVERY_LEDGER
async def test_one_that_was_refused_to_one_server_and_made_by_another_is_booked(shop: Shop) -> None:
    """It is looked for once more before the credits go back."""
    created = await shop.buy(2_500)
    payment_id = created.purchase.text("payment_id")

    async def refuse(*_: object) -> Refund:
        await shop.gateway.create_refund(payment_id, "rf-1", 700, "another's key")
        raise PaymentRefused("no", "charge_already_refunded")

    with pytest.raises(PaymentRefused):
        await shop.with_gateway(create_refund=refuse).refunds.create("rf-1", await stored(shop), 700)
    assert (await state(shop), await shop.available()) == ("SUCCEEDED", 18 * USD)


async def test_a_refund_made_by_hand_is_left_to_the_comparison_of_books(shop: Shop) -> None:
    created = await shop.buy(2_500)
    shop.stripe.refund_by_hand(created.purchase.text("payment_id"), 700)
    await shop.catch_up()
    assert (await shop.available(), await stripe_atoms(shop)) == (25 * USD, 25 * USD)
    assert await shop.ledger.records(records.EVENT, "NEW") == []


async def test_fault_43_refunded_by_hand_before_it_was_told_that_it_was_paid(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    payment_id = created.purchase.text("payment_id")
    shop.stripe.pay(payment_id)
    shop.stripe.refund_by_hand(payment_id, 2_500)
    for raw, signature in reversed(shop.stripe.webhooks.take()):
        await shop.inbox.receive(raw, signature)
        await shop.inbox.work()
    assert (await shop.available(), await shop.alerts()) == (25 * USD, [])  # the books are compared later


async def lost(shop: Shop) -> None:
    """A refund of 7 USD was asked for, and the call got lost."""
    shop.stripe.faults.next(CREATE, Fault.LOST_REQUEST)
    with pytest.raises((OutcomeUnknown, PaymentsUnavailable)):
        await shop.refunds.create("rf-1", await stored(shop), 700)


@pytest.mark.parametrize(("purchase_id", "cents"), [("buy-1", 800), ("buy-2", 700)])
async def test_a_refund_that_is_not_what_was_asked_for_is_told_and_not_booked(
    shop: Shop, purchase_id: str, cents: int
) -> None:
    """It carries the id of ours, and is of another amount, or another payment."""
    await shop.buy(2_500, "buy-1")
    await shop.buy(2_500, "buy-2")
    await lost(shop)
    payment_id = (await shop.purchase(purchase_id)).text("payment_id")
    made = await shop.gateway.create_refund(payment_id, "rf-1", cents, "k")
    for _ in range(2):
        await shop.refunds.refresh(made.stripe_id)
    assert await shop.alerts() == [f"refund:{made.stripe_id}"]
    assert (await state(shop), await stripe_atoms(shop)) == ("INITIATED", 50 * USD)


async def test_one_that_was_made_after_all_is_told_and_not_booked(shop: Shop) -> None:
    """We were told that it was refused, and gave the credits back."""
    created = await shop.buy(2_500)
    by_hand = shop.stripe.refund_by_hand(created.purchase.text("payment_id"), 2_500)
    with pytest.raises(PaymentRefused):
        await shop.refunds.create("rf-1", await stored(shop), 700)
    shop.stripe.fail_refund(by_hand)
    made = await shop.gateway.create_refund(created.purchase.text("payment_id"), "rf-1", 700, "k")
    for _ in range(2):
        await shop.refunds.refresh(made.stripe_id)
    assert await shop.alerts() == [f"refund:{made.stripe_id}"]
    assert (await state(shop), await shop.available(), await stripe_atoms(shop)) == ("FAILED", 25 * USD, 25 * USD)


@pytest.mark.parametrize(
    "fault", [Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.RATE_LIMITED]
)
@pytest.mark.parametrize("later_ms", [2 * MINUTE_MS, 25 * 3_600_000])
async def test_one_refund_whatever_becomes_of_the_call(shop: Shop, fault: Fault, later_ms: int) -> None:
    await shop.buy(2_500)
    shop.stripe.faults.next(CREATE, fault)
    with pytest.raises((OutcomeUnknown, PaymentsUnavailable)):
        await shop.refunds.create("rf-1", await stored(shop), 700)
    assert (await state(shop), await shop.available()) == ("INITIATED", 18 * USD)

    shop.clock.advance_ms(later_ms)
    assert await shop.refunds.sweep() == 1
    assert (await state(shop), await stripe_atoms(shop)) == ("SUCCEEDED", 18 * USD)
    assert len(shop.stripe.all("refund")) == 1


@ON_EVERY_LEDGER
@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
async def test_a_crash_at_every_await_of_a_refund(shop: Shop, after: bool) -> None:
    number, is_blown = 0, True
    while is_blown:
        user, refund_id = f"user-{number}", f"rf-{number}"
        created = await shop.buy(500, user=user)
        fuse = Fuse(number, after=after)
        dying = Shop(fuse.wrap(shop.ledger), fuse.wrap(shop.gateway), shop.clock, shop.stripe)
        try:
            await dying.refunds.create(refund_id, created.purchase.id, 200)
        except CrashError:
            shop.clock.advance_ms(MINUTE_MS)
            heir = Shop(shop.ledger, shop.gateway, shop.clock, shop.stripe)
            await heir.refunds.create(refund_id, created.purchase.id, 200)
        made = [one for one in shop.stripe.all("refund") if one["metadata"]["refund_id"] == refund_id]
        assert (len(made), await shop.available(user), await state(shop, refund_id)) == (1, 3 * USD, "SUCCEEDED")
        is_blown = fuse.is_blown
        number += is_blown
    assert number >= 10
