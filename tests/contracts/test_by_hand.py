"""What people move by hand: adjustments, campaigns, movements at Stripe that nothing explains."""

import pytest
from msgspec.structs import replace

from gollem.errors import Forbidden, InsufficientCredits, InvalidField, KeyReused, StaleRead, WrongState
from gollem.ledger import Balance, Ledger, rules
from gollem.ledger.desk import Desk
from gollem.ledger.types import Record, Transaction
from tests.contracts.samples import CAP_ATOMS, CENT, DAY_MS, NOW_MS, USD, granting, legs, outcomes, state
from tests.fakes.clock import FakeClock


def proposal(
    ticket: str = "t-1", amount_atoms: int = USD, account: str = "U:alice", reason: str = "goodwill"
) -> Transaction:
    return rules.adjustment_proposed(ticket, account, amount_atoms, reason, "carol", NOW_MS)


async def record_of(ledger: Ledger, kind: str, record_id: str) -> Record:
    record = await ledger.find_record(kind, record_id)
    assert record is not None
    return record


# --- adjustments (fault 65) -------------------------------------------------------------------------------------------


async def test_proposal_moves_nothing_until_somebody_else_approves(ledger: Ledger, desk: Desk) -> None:
    """Fault 65: one approver is refused."""
    await ledger.post(proposal())
    assert await ledger.balance("alice") == Balance(0, 0, True)
    assert [record.id for record in await ledger.records("adjustment", "PROPOSED")] == ["t-1"]
    with pytest.raises(Forbidden):
        await desk.approve_adjustment("t-1", "carol")
    posted = await desk.approve_adjustment("t-1", "dave")

    assert legs(posted) == {"E:adjust": -USD, "U:alice": USD}
    assert posted.entry.detail == "goodwill, proposed by carol, approved by dave"
    assert await ledger.records("adjustment", "PROPOSED") == []


async def test_adjustment_is_booked_once(ledger: Ledger, desk: Desk) -> None:
    """Fault 65: twice, and by eight at once."""
    await ledger.post(proposal())
    results = await outcomes([desk.approve_adjustment("t-1", "dave") for _ in range(8)])

    assert sorted(results) == [False] * 7 + [True]  # type: ignore[type-var]
    assert (await ledger.balance("alice")).available_atoms == USD


async def test_day_has_a_cap(ledger: Ledger, desk: Desk, clock: FakeClock) -> None:
    """Fault 65: above the cap; the next day has its own. What is taken counts as what is given."""
    await ledger.post(granting(CAP_ATOMS))
    await ledger.post(proposal("t-1", CAP_ATOMS - USD))
    await ledger.post(proposal("t-2", -USD))
    await ledger.post(proposal("t-3", CENT))
    await desk.approve_adjustment("t-1", "dave")
    await desk.approve_adjustment("t-2", "dave")
    with pytest.raises(Forbidden) as refused:
        await desk.approve_adjustment("t-3", "dave")
    assert refused.value.figures == {"left": "0.00000000", "day": "20270115"}
    assert not (await desk.approve_adjustment("t-1", "dave")).applied

    clock.advance_ms(DAY_MS)
    assert (await desk.approve_adjustment("t-3", "dave")).applied


async def test_cap_holds_for_adjustments_at_once(ledger: Ledger, desk: Desk) -> None:
    """Fault 65: all of them read the same sum."""
    for number in range(8):
        await ledger.post(proposal(f"t-{number}", CAP_ATOMS // 4))
    results = await outcomes([desk.approve_adjustment(f"t-{number}", "dave") for number in range(8)])

    assert results.count(True) == 4
    assert results.count(Forbidden) == 4
    assert (await record_of(ledger, "adjusted_day", "20270115")).number("atoms") == CAP_ATOMS


async def test_approval_of_an_old_sum_or_another_proposal_is_refused(ledger: Ledger, desk: Desk) -> None:
    for ticket in ("t-1", "t-2", "t-3"):
        await ledger.post(proposal(ticket))
    read = [await record_of(ledger, "adjustment", ticket) for ticket in ("t-1", "t-2", "t-3")]
    await desk.approve_adjustment("t-1", "dave")
    with pytest.raises(WrongState):  # the day's sum was not there
        await ledger.post(rules.adjustment_approved(read[1], "dave", None, CAP_ATOMS, NOW_MS))
    today = await record_of(ledger, "adjusted_day", "20270115")
    await desk.approve_adjustment("t-2", "dave")
    with pytest.raises(StaleRead):
        await ledger.post(rules.adjustment_approved(read[2], "dave", today, CAP_ATOMS, NOW_MS))
    today = await record_of(ledger, "adjusted_day", "20270115")
    for change in ({"amount_atoms": 2 * USD}, {"account": "U:mallory"}, {"proposer": "erin"}):
        forged = replace(read[2], fields={**read[2].fields, **change})
        with pytest.raises(StaleRead):
            await ledger.post(rules.adjustment_approved(forged, "dave", today, CAP_ATOMS, NOW_MS))
    once_more = rules.adjustment_approved(read[0], "dave", today, CAP_ATOMS, NOW_MS)
    with pytest.raises(WrongState):
        await ledger.post(replace(once_more, key="another"))


async def test_adjustment_takes_only_what_is_there(ledger: Ledger, desk: Desk) -> None:
    await ledger.post(granting(USD))
    await ledger.post(proposal(amount_atoms=-USD - 1))
    with pytest.raises(InsufficientCredits):
        await desk.approve_adjustment("t-1", "dave")
    assert await ledger.find_record("adjusted_day", "20270115") is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"account": "H:order-1"}, "account"),
        ({"account": "D:alice"}, "account"),
        ({"account": "PO:po-1"}, "account"),
        ({"account": "R:fee:1"}, "account"),
        ({"account": "E:adjust"}, "account"),
        ({"account": "U:not a user"}, "account"),
        ({"amount_atoms": 0}, "amount"),
        ({"amount_atoms": 1.5}, "amount"),
        ({"reason": "because"}, "reason"),
        ({"ticket": "with:colon"}, "ticket"),
    ],
)
def test_proposals_that_make_no_sense_are_refused(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        proposal(**change)  # type: ignore[arg-type]
    assert refused.value.figures["field"] == field


# --- campaigns --------------------------------------------------------------------------------------------------------


async def test_campaign_gives_once_a_user(ledger: Ledger) -> None:
    posted = await ledger.post(rules.promo("spring", "alice", 5 * USD, NOW_MS))
    assert posted.entry.key == "promo:spring:alice"
    assert legs(posted) == {"X:promo": -5 * USD, "U:alice": 5 * USD}
    assert not (await ledger.post(rules.promo("spring", "alice", 5 * USD, NOW_MS))).applied
    assert (await ledger.post(rules.promo("spring", "bob", 5 * USD, NOW_MS))).applied
    with pytest.raises(KeyReused):
        await ledger.post(rules.promo("spring", "alice", 6 * USD, NOW_MS))


async def test_given_credits_never_become_money(ledger: Ledger, desk: Desk) -> None:
    await ledger.post(rules.promo("spring", "alice", 5 * USD, NOW_MS))
    with pytest.raises(WrongState):
        await desk.refund("re-1", "promo:spring:alice", USD)


@pytest.mark.parametrize(("campaign", "user"), [("a:b", "alice"), ("a", "b:c"), ("", "alice"), ("a", "")])
def test_names_that_would_make_two_keys_one_are_refused(campaign: str, user: str) -> None:
    with pytest.raises(InvalidField):
        rules.promo(campaign, user, USD, NOW_MS)


# --- the platform's own ----------------------------------------------------------------------------------------------


async def test_fees_and_payouts_of_the_platform(ledger: Ledger) -> None:
    fee = await ledger.post(rules.stripe_fee("txn-1", 59 * CENT, NOW_MS))
    payout = await ledger.post(rules.platform_payout("txn-2", 10 * USD, NOW_MS))

    assert legs(fee) == {"A:stripe": 59 * CENT, "X:stripe_fee": -59 * CENT}
    assert legs(payout) == {"A:stripe": 10 * USD, "A:bank": -10 * USD}
    with pytest.raises(KeyReused):
        await ledger.post(rules.stripe_fee("txn-2", 10 * USD, NOW_MS))


@pytest.mark.parametrize("amount_atoms", [3 * USD, -3 * USD])
async def test_unexplained_movement_waits_and_is_resolved(ledger: Ledger, desk: Desk, amount_atoms: int) -> None:
    await ledger.post(granting(3 * USD))
    await ledger.post(rules.unmatched("txn-1", amount_atoms, NOW_MS))
    assert await ledger.account_atoms("S:unmatched") == amount_atoms
    assert [record.id for record in await ledger.records("unmatched", "OPEN")] == ["txn-1"]
    posted = await desk.post_about(
        "unmatched", "txn-1", lambda movement: rules.unmatched_resolved(movement, "U:alice", "carol", NOW_MS)
    )

    assert legs(posted) == {"S:unmatched": -amount_atoms, "U:alice": amount_atoms}
    assert await ledger.account_atoms("S:unmatched") == 0
    assert await ledger.records("unmatched", "OPEN") == []


async def test_resolution_takes_only_what_is_there_and_only_once(ledger: Ledger) -> None:
    await ledger.post(rules.unmatched("txn-1", -USD, NOW_MS))
    movement = await record_of(ledger, "unmatched", "txn-1")
    before = await state(ledger)
    with pytest.raises(InsufficientCredits):
        await ledger.post(rules.unmatched_resolved(movement, "U:alice", "carol", NOW_MS))
    assert await state(ledger) == before
    forged = replace(movement, fields={"amount_atoms": -2 * USD})
    with pytest.raises(StaleRead):
        await ledger.post(rules.unmatched_resolved(forged, "X:bad_debt", "carol", NOW_MS))
    await ledger.post(rules.unmatched_resolved(movement, "X:bad_debt", "carol", NOW_MS))
    again = rules.unmatched_resolved(movement, "X:bad_debt", "carol", NOW_MS)
    assert not (await ledger.post(again)).applied
    with pytest.raises(WrongState):
        await ledger.post(replace(again, key="another"))
    for account in ("S:unmatched", "D:alice", "H:order-1"):
        with pytest.raises(InvalidField):
            rules.unmatched_resolved(movement, account, "carol", NOW_MS)
