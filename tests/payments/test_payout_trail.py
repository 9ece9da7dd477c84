"""The trail of a payout: its steps, the days it covers, their orders; and it adds up."""

import pytest

from gollem.errors import InvalidField, UnknownPayout
from gollem.ledger import Kind
from gollem.payments import payout_trail
from gollem.payments.payout_trail import EarnedDay
from tests.payments.shop import ON_EVERY_LEDGER
from tests.payments.stage import DAY_MS, USD, Stage

DAYS = ["20231114", "20231115", "20231116"]  # the clock starts on the first


async def look_until_paid(stage: Stage, connected_id: str) -> None:
    for _ in range(2):
        await stage.payouts.look()
    stage.stripe.bank_pays(stage.bank_payouts(connected_id)[-1])
    await stage.payouts.look()


async def two_payouts(stage: Stage) -> tuple[str, str]:
    """One of two days with three orders, then one of a day with one order, the dust before it, and a clawback."""
    connected_id = await stage.onboard()
    stage.stripe.top_up(100_000)
    await stage.earn(60 * USD, order_id="a-1")
    await stage.earn(30 * USD + 7, order_id="a-2")
    stage.clock.advance_ms(DAY_MS)
    await stage.earn(20 * USD, order_id="b-1")
    stage.clock.advance_ms(8 * DAY_MS)
    await look_until_paid(stage, connected_id)
    await stage.earn(130 * USD, order_id="c-1")
    stage.clock.advance_ms(8 * DAY_MS)
    await stage.desk.mature_due()
    await stage.desk.claw_back("case-1", "acme", 10 * USD)
    await look_until_paid(stage, connected_id)
    second, first = (await stage.payouts.list("acme")).items
    return first.payout_id, second.payout_id


@ON_EVERY_LEDGER
async def test_trail_from_match_to_bank(stage: Stage) -> None:
    first, second = await two_payouts(stage)
    trail = await stage.payouts.trail(first)
    (transfer, _) = stage.stripe.all("transfer")

    assert trail.payout.number("amount_atoms") == 110 * USD
    assert [step.what for step in trail.steps] == [
        Kind.PAYOUT_INITIATED,
        Kind.PAYOUT_TRANSFERRED,
        Kind.PAYOUT_PAID,
    ]
    assert [step.stripe_id[:3] for step in trail.steps] == ["", "tr_", "po_"]
    assert trail.steps[1].stripe_id == transfer["id"]
    matured_ms = trail.steps[0].at_ms
    assert list(trail.days) == [
        EarnedDay("20231115", 20 * USD, 20 * USD, matured_ms, 1),
        EarnedDay("20231114", 90 * USD + 7, 90 * USD + 7, matured_ms, 2),
    ]
    assert trail.other_atoms == -7  # dust, for the next

    after = await stage.payouts.trail(second)
    assert [(day.day, day.payable_atoms, day.orders) for day in after.days] == [("20231123", 130 * USD, 1)]
    assert after.payout.number("amount_atoms") == 120 * USD
    assert after.other_atoms == -10 * USD


@ON_EVERY_LEDGER
async def test_orders_of_a_day_page_by_page(stage: Stage) -> None:
    first, _ = await two_payouts(stage)
    day = (await stage.payouts.trail(first)).days[-1].day
    newest = await stage.payouts.orders("acme", day, limit=1)
    rest = await stage.payouts.orders("acme", day, newest[-1].cursor)
    assert [line.order_id for line in [*newest, *rest]] == ["a-2", "a-1"]
    assert sum(line.amount_atoms for line in [*newest, *rest]) == 90 * USD + 7
    for bad in ("2023111", "20231301", "20230229", "", "2023-1-1"):
        with pytest.raises(InvalidField):
            await stage.payouts.orders("acme", bad)


async def test_trail_of_tries_at_the_bank_and_of_the_way_back(stage: Stage) -> None:
    connected_id = await stage.ready(150 * USD)
    for _ in range(2):
        await stage.payouts.look()
    stage.stripe.bank_fails(stage.bank_payouts(connected_id)[0])
    await stage.payouts.look()
    stage.clock.advance_ms(DAY_MS)
    await stage.payouts.look()
    stage.stripe.bank_pays(stage.bank_payouts(connected_id)[1])
    await stage.payouts.look()
    stage.stripe.bank_fails(stage.bank_payouts(connected_id)[1])
    await stage.payouts.refresh(connected_id, stage.bank_payouts(connected_id)[1])
    (transfer,) = stage.stripe.all("transfer")
    reversal_id = stage.stripe.reverse_by_hand(transfer["id"])
    await stage.payouts.refresh_transfer(transfer["id"])
    payout = await stage.payout()
    steps = (await stage.payouts.trail(payout.id)).steps

    first, second = stage.bank_payouts(connected_id)
    assert [(step.what, step.stripe_id) for step in steps] == [
        (Kind.PAYOUT_INITIATED, ""),
        (Kind.PAYOUT_TRANSFERRED, transfer["id"]),
        (Kind.PAYOUT_FAILED, first),
        (Kind.PAYOUT_PAID, second),
        (Kind.PAYOUT_FAILED, second),
        (Kind.PAYOUT_REVERSED, reversal_id),
    ]


async def test_trail_of_a_cancelled_payout_and_the_one_after(stage: Stage) -> None:
    """Its money is in the next one, as a rest: no day is told twice."""
    connected_id = await stage.onboard()
    await stage.payable(150 * USD)
    await stage.payouts.look()
    cancelled = (await stage.payout()).id
    stage.stripe.verify_account(connected_id, can_be_paid=False)
    await stage.payouts.look()
    stage.stripe.verify_account(connected_id)
    await stage.onboarding.refresh(connected_id)
    await stage.payouts.look()
    trails = [await stage.payouts.trail(one) for one in (cancelled, (await stage.payout()).id)]
    assert [len(trail.days) for trail in trails] == [1, 0]
    assert [trail.other_atoms for trail in trails] == [0, 150 * USD]
    assert [step.what for step in trails[0].steps] == [Kind.PAYOUT_INITIATED, Kind.PAYOUT_CANCELLED]


@ON_EVERY_LEDGER
async def test_debt_that_a_day_repaid(stage: Stage) -> None:
    await stage.onboard()
    await stage.desk.claw_back("case-1", "acme", 30 * USD)
    await stage.payable(150 * USD)
    await stage.payouts.look()
    trail = await stage.payouts.trail((await stage.payout()).id)
    assert [(day.earned_atoms, day.payable_atoms) for day in trail.days] == [(150 * USD, 120 * USD)]
    assert trail.other_atoms == 0


async def test_orders_are_counted_up_to_a_bound(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day that was not read to its end has no number."""
    monkeypatch.setattr(payout_trail, "MAX_PAGE", 2)
    monkeypatch.setattr(payout_trail, "MAX_COUNTED", 2)
    first, _ = await two_payouts(stage)
    assert [day.orders for day in (await stage.payouts.trail(first)).days] == [1, None]
    monkeypatch.setattr(payout_trail, "MAX_COUNTED", 100)
    assert [day.orders for day in (await stage.payouts.trail(first)).days] == [1, 2]


async def test_payout_that_is_not_there(stage: Stage) -> None:
    for payout_id in ("po-none", "", "a b"):
        with pytest.raises(UnknownPayout):
            await stage.payouts.trail(payout_id)
