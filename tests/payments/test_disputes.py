"""Disputed payments: what is booked is what Stripe's balance transactions say; who is disputed is frozen."""

import asyncio
from contextlib import suppress
from itertools import count

import pytest

from gollem.errors import InvalidField, WrongState
from gollem.ledger import Hold, Kind, Posted, Transaction, records, rules
from gollem.payments.types import Dispute, DisputeStatus, Movement, MovementKind
from tests.fakes.crashes import CrashError, Fuse, stride
from tests.payments.shop import MINUTE_MS, ON_EVERY_LEDGER, USD, Shop

FEE = 15 * USD
PARTS = 3  # of the awaits, so that no test takes long


async def disputed(shop: Shop, cents: int | None = None, *, inquiry: bool = False) -> str:
    """A purchase of 25 USD, and its dispute, told."""
    created = await shop.buy(2_500)
    return await dispute(shop, created.purchase.text("payment_id"), cents, inquiry=inquiry)


async def dispute(shop: Shop, payment_id: str, cents: int | None = None, *, inquiry: bool = False) -> str:
    dispute_id = shop.stripe.dispute(payment_id, cents, inquiry=inquiry)
    await shop.catch_up()
    return dispute_id


async def owed(shop: Shop, user: str = "alice") -> int:
    return -await shop.ledger.account_atoms(f"D:{user}")


async def is_active(shop: Shop, user: str = "alice") -> bool:
    return (await shop.ledger.balance(user)).active


async def state(shop: Shop, dispute_id: str) -> str:
    known = await shop.ledger.find_record(records.DISPUTE, dispute_id)
    return known.state if known else "ABSENT"


async def books_agree(shop: Shop, fees_of_payments_cents: int) -> None:
    """Our A:stripe is Stripe's own balance, but for what it took for the payments, which is booked elsewhere."""
    ours = -await shop.ledger.account_atoms("A:stripe")
    funds = await shop.gateway.funds()
    assert ours == (funds.cents + fees_of_payments_cents) * USD // 100


@ON_EVERY_LEDGER
@pytest.mark.parametrize(("spent_usd", "left_usd", "owed_usd"), [(0, 0, 0), (10, 0, 10), (25, 0, 25)])
async def test_fault_50_withdrawn_and_lost(shop: Shop, spent_usd: int, left_usd: int, owed_usd: int) -> None:
    created = await shop.buy(2_500)
    if spent_usd:
        await shop.spend(spent_usd * USD)
    dispute_id = await dispute(shop, created.purchase.text("payment_id"))
    assert (await shop.available(), await owed(shop)) == (left_usd * USD, owed_usd * USD)
    assert not await is_active(shop)
    assert await shop.ledger.account_atoms("X:dispute_fee") == -FEE
    await books_agree(shop, 103)

    shop.stripe.lose(dispute_id)
    await shop.catch_up()
    if owed_usd:
        assert await shop.alerts() == [f"dispute:{dispute_id}:lost"]
        assert await state(shop, dispute_id) == "WITHDRAWN"
        await shop.disputes.write_off(dispute_id, "carol")
        assert await shop.ledger.account_atoms("X:bad_debt") == -owed_usd * USD
    else:
        assert await shop.alerts() == []
    assert (await state(shop, dispute_id), await owed(shop)) == ("LOST", 0)
    assert not await is_active(shop)
    await books_agree(shop, 103)


@pytest.mark.parametrize("cents", [1, 1_000, 2_500, 4_000])
async def test_fault_50_the_amount_is_that_of_the_movement(shop: Shop, cents: int) -> None:
    """Less, or more, than was paid, and than the user has."""
    await disputed(shop, cents)
    taken = min(cents, 2_500)
    assert await shop.available() == (2_500 - taken) * USD // 100
    assert await owed(shop) == (cents - taken) * USD // 100
    await books_agree(shop, 103)


@ON_EVERY_LEDGER
async def test_fault_50_won_unfreezes_and_repays(shop: Shop) -> None:
    created = await shop.buy(2_500)
    await shop.spend(10 * USD)
    dispute_id = await dispute(shop, created.purchase.text("payment_id"))
    shop.stripe.win(dispute_id)
    await shop.catch_up()
    assert (await shop.available(), await owed(shop)) == (15 * USD, 0)
    assert (await state(shop, dispute_id), await is_active(shop)) == ("WON", True)
    assert await shop.ledger.account_atoms("X:dispute_fee") == -FEE  # stays with Stripe
    await books_agree(shop, 103)


@pytest.mark.parametrize(("cents", "fee_cents"), [(2_400, 0), (2_500, -1_500)])
async def test_fault_50_what_comes_back_is_what_the_movement_says(shop: Shop, cents: int, fee_cents: int) -> None:
    """Less than was taken; or the fee too."""
    dispute_id = await disputed(shop)
    shop.stripe.win(dispute_id, cents, fee_cents=fee_cents)
    await shop.catch_up()
    assert await shop.available() == cents * USD // 100
    assert await shop.ledger.account_atoms("X:dispute_fee") == -FEE - fee_cents * USD // 100
    assert await is_active(shop)
    await books_agree(shop, 103)


async def test_fault_50_after_a_refund(shop: Shop) -> None:
    """The user has had it back once already: it is debt."""
    created = await shop.buy(2_500)
    await shop.refunds.create("rf-1", created.purchase.id, 2_000)
    await dispute(shop, created.purchase.text("payment_id"))
    assert (await shop.available(), await owed(shop)) == (0, 20 * USD)
    await books_agree(shop, 103)


@ON_EVERY_LEDGER
async def test_fault_50_inquiry_freezes_and_moves_nothing(shop: Shop) -> None:
    dispute_id = await disputed(shop, inquiry=True)
    assert (await shop.available(), await is_active(shop)) == (25 * USD, False)
    assert await state(shop, dispute_id) == "ABSENT"
    shop.stripe.drop_inquiry(dispute_id)
    await shop.catch_up()
    assert (await shop.available(), await is_active(shop)) == (25 * USD, True)
    assert await shop.ledger.records(records.INQUIRY, "OPEN") == []


async def test_fault_50_inquiry_becomes_a_dispute(shop: Shop) -> None:
    dispute_id = await disputed(shop, inquiry=True)
    shop.stripe.escalate(dispute_id)
    await shop.catch_up()
    assert (await shop.available(), await is_active(shop)) == (0, False)
    assert await shop.ledger.records(records.INQUIRY, "OPEN") == []
    shop.stripe.win(dispute_id)
    await shop.catch_up()
    assert (await shop.available(), await is_active(shop)) == (25 * USD, True)


@pytest.mark.parametrize("is_won_first", [True, False])
async def test_one_that_ends_does_not_unfreeze_while_another_is_open(shop: Shop, is_won_first: bool) -> None:
    first = await shop.buy(2_500, "buy-1")
    second = await shop.buy(2_500, "buy-2")
    open_dispute = await dispute(shop, first.purchase.text("payment_id"))
    inquiry = await dispute(shop, second.purchase.text("payment_id"), inquiry=True)
    ends = [lambda: shop.stripe.win(open_dispute), lambda: shop.stripe.drop_inquiry(inquiry)]
    for end, is_over in zip(ends if is_won_first else reversed(ends), (False, True), strict=True):
        end()
        await shop.catch_up()
        assert await is_active(shop) is is_over


@ON_EVERY_LEDGER
async def test_nobody_is_unfrozen_for_a_moment(shop: Shop) -> None:
    first = await shop.buy(2_500, "buy-1")
    second = await shop.buy(2_500, "buy-2")
    inquiry = await dispute(shop, first.purchase.text("payment_id"), inquiry=True)
    other = await dispute(shop, second.purchase.text("payment_id"), 100)
    shop.stripe.drop_inquiry(inquiry)
    await shop.catch_up()
    freezes = await shop.ledger.find_record(records.FREEZES, "alice")
    assert freezes
    assert (freezes.text("reasons"), await is_active(shop)) == (f"dispute.{other}", False)


@ON_EVERY_LEDGER
async def test_a_dispute_that_comes_while_an_inquiry_closes_keeps_its_user_frozen(shop: Shop) -> None:
    """It comes after it was seen that nothing else is open, and before the user is unfrozen."""
    first = await shop.buy(2_500, "buy-1")
    second = await shop.buy(2_500, "buy-2")
    inquiry = await dispute(shop, first.purchase.text("payment_id"), inquiry=True)
    shop.stripe.drop_inquiry(inquiry)
    other = shop.stripe.dispute(second.purchase.text("payment_id"), 100)

    async def post(transaction: Transaction) -> Posted:
        if transaction.kind is Kind.USER_UNFROZEN:
            await shop.disputes.refresh(other)
        return await shop.ledger.post(transaction)

    await shop.with_ledger(post=post).disputes.refresh(inquiry)
    assert not await is_active(shop)


@ON_EVERY_LEDGER
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
async def test_a_crash_at_every_await_of_a_dispute(shop: Shop, after: bool, part: int) -> None:
    """From an inquiry to the money that comes back; whoever comes next finishes."""
    for number in count(part, PARTS * stride(shop.ledger)):
        user = f"user-{number}"
        created = await shop.buy(500, user=user)
        fuse = Fuse(number, after=after)
        dying = Shop(fuse.wrap(shop.ledger), fuse.wrap(shop.gateway), shop.clock, shop.stripe)
        dispute_id = shop.stripe.dispute(created.purchase.text("payment_id"), inquiry=True)
        for step in (lambda _: None, shop.stripe.escalate, shop.stripe.win):
            step(dispute_id)
            with suppress(CrashError):
                await dying.disputes.refresh(dispute_id)
            await shop.disputes.refresh(dispute_id)
            assert await is_active(shop, user) is (step == shop.stripe.win)
        assert (await shop.available(user), await state(shop, dispute_id)) == (5 * USD, "WON")
        if not fuse.is_blown:
            break
    await books_agree(shop, 45 * len(shop.payments()))
    assert number >= 20


@ON_EVERY_LEDGER
async def test_who_is_in_debt_stays_frozen_when_an_inquiry_closes(shop: Shop) -> None:
    first = await shop.buy(500, "buy-1")
    second = await shop.buy(500, "buy-2")
    await shop.spend(10 * USD)
    lost = await dispute(shop, first.purchase.text("payment_id"))
    inquiry = await dispute(shop, second.purchase.text("payment_id"), inquiry=True)
    shop.stripe.lose(lost)
    shop.stripe.drop_inquiry(inquiry)
    await shop.catch_up()
    await shop.disputes.sweep()
    assert (await owed(shop), await is_active(shop)) == (5 * USD, False)


@ON_EVERY_LEDGER
async def test_fault_43_closed_before_it_was_created_before_it_was_paid(shop: Shop) -> None:
    """Everything is told in the wrong order, to somebody who does not know yet that the purchase was paid."""
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    payment_id = created.purchase.text("payment_id")
    shop.stripe.pay(payment_id)
    dispute_id = shop.stripe.dispute(payment_id)
    shop.stripe.win(dispute_id)
    for raw, signature in reversed(shop.stripe.webhooks.take()):
        await shop.inbox.receive(raw, signature)
        await shop.inbox.work()
    assert (await shop.available(), await is_active(shop)) == (25 * USD, True)
    assert await state(shop, dispute_id) == "WON"
    assert await shop.alerts() == []
    await books_agree(shop, 103)


@ON_EVERY_LEDGER
async def test_fault_52_while_20_holds_are_open(shop: Shop) -> None:
    created = await shop.buy(2_500)
    now_ms = shop.clock.now_ms()
    holds = [Hold(f"order-{n}", "alice", "acme", USD, now_ms, now_ms + MINUTE_MS, terms="") for n in range(20)]
    for hold in holds:
        await shop.ledger.post(rules.hold(hold, "bid", now_ms))
    await dispute(shop, created.purchase.text("payment_id"))
    balance = await shop.ledger.balance("alice")
    assert (balance.available_atoms, balance.held_atoms, balance.active) == (0, 20 * USD, False)
    assert await owed(shop) == 20 * USD

    await asyncio.gather(*(shop.ledger.post(rules.settle(hold, USD // 2, 0, now_ms)) for hold in holds))
    assert (await shop.available(), await owed(shop)) == (10 * USD, 20 * USD)


@ON_EVERY_LEDGER
async def test_fault_52_while_holds_are_being_opened(shop: Shop) -> None:
    created = await shop.buy(2_500)
    now_ms = shop.clock.now_ms()
    holds = [Hold(f"order-{n}", "alice", "acme", USD, now_ms, now_ms + MINUTE_MS, terms="") for n in range(20)]
    shop.stripe.dispute(created.purchase.text("payment_id"))
    await asyncio.gather(
        shop.catch_up(), *(shop.ledger.post(rules.hold(one, "bid", now_ms)) for one in holds), return_exceptions=True
    )
    await shop.catch_up()
    while await shop.inbox.work() or await shop.ledger.records(records.EVENT, "NEW"):
        shop.clock.advance_ms(MINUTE_MS)
    balance = await shop.ledger.balance("alice")
    assert balance.available_atoms == 0
    assert balance.held_atoms == await owed(shop)  # 25 USD were there, and 25 were taken


@ON_EVERY_LEDGER
async def test_told_50_times_at_once_books_once(shop: Shop) -> None:
    created = await shop.buy(2_500)
    dispute_id = shop.stripe.dispute(created.purchase.text("payment_id"))
    await asyncio.gather(*(shop.disputes.refresh(dispute_id) for _ in range(50)))
    shop.stripe.win(dispute_id)
    await asyncio.gather(*(shop.disputes.refresh(dispute_id) for _ in range(50)))
    assert (await shop.available(), await is_active(shop)) == (25 * USD, True)
    await books_agree(shop, 103)


async def test_sweep_books_what_nobody_told_of(shop: Shop) -> None:
    dispute_id = await disputed(shop)
    shop.stripe.win(dispute_id)
    assert await shop.disputes.sweep() == 1
    assert (await state(shop, dispute_id), await shop.available()) == ("WON", 25 * USD)
    assert await shop.disputes.sweep() == 0


async def test_a_strangers_dispute_is_told_and_not_booked(shop: Shop) -> None:
    """Its payment was never credited to anybody."""
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    shop.stripe.pay(created.purchase.text("payment_id"))
    dispute_id = shop.stripe.dispute(created.purchase.text("payment_id"))
    await shop.with_gateway(livemode=True).disputes.refresh(dispute_id)
    assert f"dispute:{dispute_id}:stranger" in await shop.alerts()
    assert await state(shop, dispute_id) == "ABSENT"


# --- what is unusual is a person's ----------------------------------------------------------------------------------


def movement(number: int, cents: int, fee_cents: int = 0, currency: str = "usd") -> Movement:
    return Movement(f"txn_{number}", MovementKind.DISPUTE, cents, fee_cents, currency, 0, "dp_1")


@pytest.mark.parametrize(
    ("movements", "unusual"),
    [
        ([movement(1, -2_500, 1_500), movement(2, 2_500), movement(3, -2_500)], ["txn_3"]),
        ([movement(1, -2_500), movement(2, -100)], ["txn_2"]),
        ([movement(1, -2_500), movement(2, -100), movement(3, 2_500)], ["txn_2", "txn_3"]),
        ([movement(1, 2_500)], ["txn_1"]),
        ([movement(1, -2_500, 0, "eur")], ["txn_1"]),
        ([movement(1, -2_500, -15)], ["txn_1"]),
        ([movement(1, -2_500), movement(2, 2_500, 15)], ["txn_2"]),
        ([movement(1, 0)], ["txn_1"]),
    ],
)
async def test_other_movements_are_told_once_and_left(
    shop: Shop, movements: list[Movement], unusual: list[str]
) -> None:
    created = await shop.buy(2_500)

    async def fetched(dispute_id: str) -> Dispute:
        return Dispute(dispute_id, created.purchase.text("payment_id"), DisputeStatus.OPEN, movements)

    odd = shop.with_gateway(dispute=fetched)
    for _ in range(2):
        await odd.disputes.refresh("dp_1")
    assert await shop.alerts() == [f"dispute:dp_1:{txn_id}" for txn_id in unusual]
    for one in movements:
        booked = await shop.ledger.find_entry(f"stripe:{one.txn_id}")
        assert (booked is None) == (one.txn_id in unusual)


async def test_what_was_booked_as_unexplained_is_told(shop: Shop) -> None:
    created = await shop.buy(2_500)
    dispute_id = shop.stripe.dispute(created.purchase.text("payment_id"))
    seen = await shop.gateway.dispute(dispute_id)
    assert seen is not None
    await shop.ledger.post(rules.unmatched(seen.movements[0].txn_id, -40 * USD, shop.clock.now_ms()))
    await shop.catch_up()
    assert await shop.available() == 25 * USD
    shop.stripe.win(dispute_id)
    await shop.catch_up()
    won = await shop.gateway.dispute(dispute_id)
    assert won is not None
    assert await shop.alerts() == [f"dispute:{dispute_id}:{one.txn_id}" for one in won.movements]
    assert await shop.ledger.records(records.EVENT, "NEW") == []


# --- writing off ----------------------------------------------------------------------------------------------------


@ON_EVERY_LEDGER
async def test_only_what_is_lost_is_written_off(shop: Shop) -> None:
    created = await shop.buy(2_500)
    await shop.spend(25 * USD)
    dispute_id = await dispute(shop, created.purchase.text("payment_id"))
    for unknown in (dispute_id, "dp_none"):
        with pytest.raises(WrongState):
            await shop.disputes.write_off(unknown, "carol")
    assert await owed(shop) == 25 * USD

    shop.stripe.lose(dispute_id)
    with pytest.raises(InvalidField):
        await shop.disputes.write_off(dispute_id, "")
    assert [await shop.disputes.write_off(dispute_id, "carol") for _ in range(2)] == [True, False]
    assert await state(shop, dispute_id) == "LOST"
    assert await shop.ledger.account_atoms("X:bad_debt") == -25 * USD


@ON_EVERY_LEDGER
async def test_a_lost_dispute_that_the_next_purchase_repaid_closes(shop: Shop) -> None:
    created = await shop.buy(500, "buy-1")
    await shop.spend(5 * USD)
    dispute_id = await dispute(shop, created.purchase.text("payment_id"))
    shop.stripe.lose(dispute_id)
    await shop.catch_up()
    await shop.buy(700, "buy-2")
    await shop.disputes.sweep()
    assert (await state(shop, dispute_id), await shop.available()) == ("LOST", 2 * USD)
    assert await shop.ledger.account_atoms("X:bad_debt") == 0
