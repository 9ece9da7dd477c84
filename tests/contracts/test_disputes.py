"""Disputed payments: withdrawn, won, lost; and fraud clawed back from providers."""

import asyncio

import pytest
from msgspec.structs import replace

from gollem.errors import AccountFrozen, InvariantBroken, KeyReused, StaleRead, WrongState
from gollem.ledger import Balance, Ledger, rules
from gollem.ledger.desk import Desk
from gollem.ledger.types import AvailableAtLeast, Record
from tests.contracts.samples import CENT, DAY_MS, NOW_MS, USD, buy, earn, granting, hold_of, legs, opening, state
from tests.fakes.clock import FakeClock

FEE = 15 * USD


async def dispute_of(ledger: Ledger, dispute_id: str = "dp-1") -> Record:
    record = await ledger.find_record("dispute", dispute_id)
    assert record is not None
    return record


def reasons(freezes: Record | None) -> set[str]:
    return set(rules.reasons_of(freezes))


async def spend(ledger: Ledger, amount_atoms: int) -> None:
    hold = hold_of("spent", amount_atoms)
    await ledger.post(opening(hold))
    await ledger.post(rules.settle(hold, amount_atoms, 0, NOW_MS))


@pytest.mark.parametrize(("spent_usd", "taken_usd", "owed_usd"), [(0, 5, 0), (3, 2, 3), (5, 0, 5)])
async def test_dispute_takes_what_is_there_and_the_rest_is_debt(
    ledger: Ledger, desk: Desk, spent_usd: int, taken_usd: int, owed_usd: int
) -> None:
    """Fault 50: balance enough, partly spent, all spent."""
    await buy(ledger, desk, 500)
    if spent_usd:
        await spend(ledger, spent_usd * USD)
    posted = await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, FEE)

    expected = {"A:stripe": 20 * USD, "X:dispute_fee": -FEE, "U:alice": -taken_usd * USD, "D:alice": -owed_usd * USD}
    assert legs(posted) == {account: atoms for account, atoms in expected.items() if atoms}
    assert await ledger.balance("alice") == Balance((5 - spent_usd - taken_usd) * USD, 0, False)
    assert await ledger.account_atoms("D:alice") == -owed_usd * USD
    assert await ledger.account_atoms("A:stripe") == FEE
    assert [record.id for record in await ledger.records("dispute", "WITHDRAWN")] == ["dp-1"]
    with pytest.raises(AccountFrozen):
        await ledger.post(opening(hold_of("order-2", 1)))


async def test_inquiry_freezes_and_moves_nothing(ledger: Ledger, desk: Desk) -> None:
    """Fault 50: warning_* disputes."""
    await buy(ledger, desk, 500)
    await desk.freeze("dp-1", "alice", "inquiry")
    assert await ledger.balance("alice") == Balance(5 * USD, 0, False)
    await desk.unfreeze("dp-1", "alice", "answered")
    assert await ledger.balance("alice") == Balance(5 * USD, 0, True)


async def test_user_never_seen_can_be_frozen(ledger: Ledger) -> None:
    await ledger.post(rules.user_frozen("f", "nobody", None, NOW_MS))
    assert await ledger.balance("nobody") == Balance(0, 0, False)


async def test_user_in_debt_stays_frozen(ledger: Ledger, desk: Desk) -> None:
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, 0)
    with pytest.raises(WrongState, match="is in debt"):
        await desk.unfreeze("dispute.dp-1", "alice")
    freezes = await ledger.find_record("freezes", "alice")
    with pytest.raises(StaleRead):
        await ledger.post(rules.user_unfrozen("dispute.dp-1", "alice", freezes, NOW_MS))
    await buy(ledger, desk, 500)
    await desk.unfreeze("dispute.dp-1", "alice")
    assert (await ledger.balance("alice")).active


async def test_won_dispute_leaves_frozen_whom_somebody_froze_for_another_reason(ledger: Ledger, desk: Desk) -> None:
    """Whichever ends first, the other holds on."""
    await buy(ledger, desk, 1_000)
    for number, is_won_first in enumerate((True, False)):
        dispute, fraud = f"dp-{number}", f"fraud-{number}"
        await desk.withdraw_dispute(dispute, f"txn-{number}", "alice", USD, 0)
        await desk.freeze(fraud, "alice", "cards of others")
        assert reasons(await ledger.find_record("freezes", "alice")) == {f"dispute.{dispute}", fraud}

        if is_won_first:
            await desk.reinstate_dispute(dispute, f"won-{number}", USD)
        else:
            await desk.unfreeze(fraud, "alice")
        assert not (await ledger.balance("alice")).active
        with pytest.raises(AccountFrozen):
            await ledger.post(opening(hold_of("order-2", 1)))
        if is_won_first:
            await desk.unfreeze(fraud, "alice")
        else:
            await desk.reinstate_dispute(dispute, f"won-{number}", USD)
        assert (await ledger.balance("alice")).active


async def test_inquiry_that_closes_leaves_a_lost_dispute_its_freeze(ledger: Ledger, desk: Desk) -> None:
    await buy(ledger, desk, 500)
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", USD, 0)
    await desk.write_off("dp-1", "carol")
    await desk.freeze("dp-2", "alice", "inquiry")
    await desk.unfreeze("dp-2", "alice", "closed")
    assert not (await ledger.balance("alice")).active
    await desk.unfreeze("dispute.dp-1", "alice", "carol has looked")
    assert (await ledger.balance("alice")).active


async def test_inquiry_closes_while_another_dispute_is_owed(ledger: Ledger, desk: Desk) -> None:
    """Only the last reason waits for the debt."""
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, 0)
    await desk.freeze("dp-2", "alice", "inquiry")
    await desk.unfreeze("dp-2", "alice", "closed")
    assert reasons(await ledger.find_record("freezes", "alice")) == {"dispute.dp-1"}
    assert not (await ledger.balance("alice")).active


async def test_inquiry_that_became_a_dispute_closes_and_leaves_its_freeze(ledger: Ledger, desk: Desk) -> None:
    await buy(ledger, desk, 500)
    await desk.freeze("dp-1", "alice", "inquiry")
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", USD, 0)
    await desk.unfreeze("dp-1", "alice", "closed")
    assert not (await ledger.balance("alice")).active
    await desk.reinstate_dispute("dp-1", "txn-2", USD)
    assert (await ledger.balance("alice")).active


async def test_person_lifts_all_freezes_but_not_a_debt(ledger: Ledger, desk: Desk) -> None:
    await desk.freeze("fraud", "alice")
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, 0)
    with pytest.raises(WrongState, match="is in debt"):
        await desk.release("case-1", "alice")
    await buy(ledger, desk, 500)
    for expected in (True, False):
        assert (await desk.release("case-1", "alice", "carol has looked")).applied is expected
    assert (await ledger.balance("alice")).active
    assert reasons(await ledger.find_record("freezes", "alice")) == set()
    await desk.reinstate_dispute("dp-1", "txn-2", 5 * USD)
    assert (await ledger.balance("alice")).active


async def test_freezes_happen_once_and_are_lifted_once(ledger: Ledger, desk: Desk) -> None:
    for expected in (True, False):
        assert (await desk.freeze("f", "alice")).applied is expected
    for expected in (True, False):
        assert (await desk.unfreeze("f", "alice")).applied is expected
    assert not (await desk.freeze("f", "alice")).applied
    assert (await ledger.balance("alice")).active
    with pytest.raises(WrongState):
        await desk.unfreeze("never", "alice")


async def test_freezes_at_once_are_all_remembered(ledger: Ledger, desk: Desk) -> None:
    names = {f"f-{number}" for number in range(5)}
    await asyncio.gather(*(desk.freeze(name, "alice") for name in names))
    assert reasons(await ledger.find_record("freezes", "alice")) == names
    *first, last = sorted(names)
    await asyncio.gather(*(desk.unfreeze(name, "alice") for name in first))
    assert not (await ledger.balance("alice")).active
    await desk.unfreeze(last, "alice")
    assert (await ledger.balance("alice")).active


async def test_more_reasons_than_can_be_named_freeze_all_the_same(ledger: Ledger, desk: Desk) -> None:
    """A dispute is booked however many there are; what has no name is lifted by a person."""
    names = [f"f-{number:02}-{'x' * 59}" for number in range(20)]
    for name in names:
        await desk.freeze(name, "alice")
    for name in sorted(reasons(await ledger.find_record("freezes", "alice")) - {"and-more"}):
        await desk.unfreeze(name, "alice")
    assert not (await ledger.balance("alice")).active
    await desk.unfreeze("and-more", "alice")
    assert (await ledger.balance("alice")).active


async def test_won_dispute_repays_the_debt_and_unfreezes(ledger: Ledger, desk: Desk) -> None:
    """Fault 50: won, with the amount of that balance transaction, which differs; and told twice."""
    await buy(ledger, desk, 500)
    await spend(ledger, 3 * USD)
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, FEE)
    for expected in (True, False):
        posted = await desk.reinstate_dispute("dp-1", "txn-2", 4 * USD)
        assert posted.applied is expected

    assert legs(posted) == {"A:stripe": -4 * USD, "D:alice": 3 * USD, "U:alice": USD}
    assert await ledger.balance("alice") == Balance(USD, 0, True)
    assert (await dispute_of(ledger)).state == "WON"


async def test_won_dispute_may_give_the_fee_back(ledger: Ledger, desk: Desk) -> None:
    await buy(ledger, desk, 500)
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, FEE)
    posted = await desk.reinstate_dispute("dp-1", "txn-2", 5 * USD, FEE)
    assert legs(posted) == {"A:stripe": -5 * USD - FEE, "X:dispute_fee": FEE, "U:alice": 5 * USD}
    assert await ledger.account_atoms("X:dispute_fee") == 0
    with pytest.raises(KeyReused):
        await desk.reinstate_dispute("dp-1", "txn-2", 5 * USD)


async def test_win_that_leaves_debt_or_another_dispute_does_not_unfreeze(ledger: Ledger, desk: Desk) -> None:
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, 0)
    await desk.withdraw_dispute("dp-2", "txn-2", "alice", 2 * USD, 0)
    await desk.reinstate_dispute("dp-1", "txn-3", 5 * USD)
    assert not (await ledger.balance("alice")).active  # debt

    await buy(ledger, desk, 1_000)
    await desk.withdraw_dispute("dp-3", "txn-4", "alice", USD, 0)
    await desk.reinstate_dispute("dp-2", "txn-5", 2 * USD)
    assert not (await ledger.balance("alice")).active  # dp-3
    await desk.reinstate_dispute("dp-3", "txn-6", USD)
    assert await ledger.balance("alice") == Balance(10 * USD + 2 * USD - 2 * USD, 0, True)


async def test_lost_dispute_is_written_off_once(ledger: Ledger, desk: Desk) -> None:
    """Fault 50: lost."""
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, 0)
    await desk.withdraw_dispute("dp-2", "txn-2", "alice", 2 * USD, 0)
    posted = await desk.write_off("dp-1", "carol")

    assert legs(posted) == {"X:bad_debt": -5 * USD, "D:alice": 5 * USD}
    assert not (await desk.write_off("dp-1", "carol")).applied
    assert await ledger.account_atoms("D:alice") == -2 * USD
    assert (await dispute_of(ledger)).fields["approver"] == "carol"
    with pytest.raises(WrongState):
        await desk.reinstate_dispute("dp-1", "txn-3", 5 * USD)


async def test_lost_dispute_that_was_repaid_writes_off_nothing(ledger: Ledger, desk: Desk) -> None:
    await buy(ledger, desk, 500)
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, 0)
    assert (await desk.write_off("dp-1", "carol")).entry.legs == ()
    assert (await dispute_of(ledger)).state == "LOST"


async def test_dispute_after_a_refund(ledger: Ledger, desk: Desk) -> None:
    """Fault 50: the card gets it twice, so the user owes it."""
    await buy(ledger, desk, 500)
    await desk.refund("re-1", "buy-1", 5 * USD)
    await desk.post_about("refund", "re-1", lambda record: rules.refund_succeeded(record, "re_1", NOW_MS))
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, 0)
    assert await ledger.account_atoms("D:alice") == -5 * USD


async def test_dispute_with_20_open_holds(ledger: Ledger, desk: Desk) -> None:
    """Fault 52: no negative balance, and open holds still settle."""
    await buy(ledger, desk, 1_000)
    holds = [hold_of(f"order-{number}", 40 * CENT) for number in range(20)]
    for hold in holds:
        await ledger.post(opening(hold))
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 10 * USD, FEE)

    assert await ledger.balance("alice") == Balance(0, 8 * USD, False)
    assert await ledger.account_atoms("D:alice") == -8 * USD
    for hold in holds:
        await ledger.post(rules.settle(hold, 30 * CENT, CENT, NOW_MS))
    assert await ledger.balance("alice") == Balance(2 * USD, 0, False)
    assert (await ledger.provider_balance("acme")).earned_atoms == 20 * 29 * CENT


async def test_split_of_an_old_balance_is_refused(ledger: Ledger, desk: Desk) -> None:
    await ledger.post(granting(100 * CENT))
    before = await state(ledger)
    for seen_atoms in (99 * CENT, 101 * CENT):
        with pytest.raises(StaleRead) as refused:
            await ledger.post(rules.dispute_withdrawn("dp-1", "txn-1", "alice", 5 * USD, 0, seen_atoms, None, NOW_MS))
        assert refused.value.figures == {"what": "U:alice"}
    assert await state(ledger) == before


async def test_dispute_races_holds_without_a_wrong_split(ledger: Ledger, desk: Desk) -> None:
    await ledger.post(granting(USD))
    posts = [ledger.post(opening(hold_of(f"order-{number}", 10 * CENT))) for number in range(10)]
    await asyncio.gather(desk.withdraw_dispute("dp-1", "txn-1", "alice", USD, 0), *posts, return_exceptions=True)

    balance, debt_atoms = await ledger.balance("alice"), -await ledger.account_atoms("D:alice")
    assert balance.available_atoms == 0
    assert balance.held_atoms == debt_atoms


async def test_win_built_from_old_balances_is_refused(ledger: Ledger, desk: Desk) -> None:
    """Another dispute came between reading and posting: the user must not be unfrozen."""
    await buy(ledger, desk, 1_000)
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, 0)
    dispute = await dispute_of(ledger)
    freezes = await ledger.find_record("freezes", "alice")
    for available, debt in ((6 * USD, 0), (5 * USD, USD)):
        with pytest.raises(StaleRead):
            await ledger.post(rules.dispute_reinstated(dispute, "txn-2", 5 * USD, available, debt, freezes, NOW_MS))
    await desk.freeze("fraud", "alice")
    with pytest.raises(StaleRead):  # frozen meanwhile
        await ledger.post(rules.dispute_reinstated(dispute, "txn-2", 5 * USD, 5 * USD, 0, freezes, NOW_MS))
    freezes = await ledger.find_record("freezes", "alice")
    await ledger.post(rules.dispute_reinstated(dispute, "txn-2", 5 * USD, 5 * USD, 0, freezes, NOW_MS))
    with pytest.raises(WrongState):
        await ledger.post(rules.dispute_reinstated(dispute, "txn-3", 5 * USD, 10 * USD, 0, freezes, NOW_MS))


async def test_one_dispute_is_withdrawn_once(ledger: Ledger, desk: Desk) -> None:
    await buy(ledger, desk, 500)
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 2 * USD, 0)
    assert not (await desk.withdraw_dispute("dp-1", "txn-1", "alice", 2 * USD, 0)).applied
    with pytest.raises(WrongState):
        await desk.withdraw_dispute("dp-1", "txn-2", "alice", 2 * USD, 0)
    assert (await ledger.balance("alice")).available_atoms == 3 * USD


# --- clawback ---------------------------------------------------------------------------------------------------------


async def test_clawback_within_what_is_payable(ledger: Ledger, desk: Desk, clock: FakeClock) -> None:
    await earn(ledger, 5 * USD)
    clock.advance_ms(7 * DAY_MS)
    await desk.mature_due()
    posted = await desk.claw_back("case-1", "acme", 2 * USD, "alice")

    assert legs(posted) == {"P:acme": -2 * USD, "U:alice": 2 * USD}
    assert not (await desk.claw_back("case-1", "acme", 2 * USD, "alice")).applied


async def test_clawback_above_what_is_payable_is_debt_that_earnings_repay(
    ledger: Ledger, desk: Desk, clock: FakeClock
) -> None:
    """Fault 60: and no payout is ever negative."""
    await ledger.post(rules.provider_registered("acme", "acct_1", enabled=True, now_ms=NOW_MS))
    await earn(ledger, 3 * USD)
    clock.advance_ms(7 * DAY_MS)
    await desk.mature_due()
    posted = await desk.claw_back("case-1", "acme", 5 * USD)
    assert legs(posted) == {"P:acme": -3 * USD, "DP:acme": -2 * USD, "X:bad_debt": 5 * USD}
    assert await desk.pay_out("po-1", "acme", CENT) is None

    await earn(ledger, USD, "order-2", clock.now_ms())
    clock.advance_ms(7 * DAY_MS)
    await desk.mature_due()
    assert (await ledger.provider_balance("acme")).debt_atoms == USD
    assert await desk.pay_out("po-1", "acme", CENT) is None

    await earn(ledger, 4 * USD, "order-3", clock.now_ms())
    clock.advance_ms(7 * DAY_MS)
    await desk.mature_due()
    balance = await ledger.provider_balance("acme")
    assert (balance.payable_atoms, balance.debt_atoms) == (3 * USD, 0)
    payout = await desk.pay_out("po-1", "acme", CENT)
    assert payout is not None
    assert legs(payout) == {"P:acme": -3 * USD, "PO:po-1": 3 * USD}


async def test_clawback_of_an_old_balance_is_refused(ledger: Ledger) -> None:
    await earn(ledger, 3 * USD)
    for seen_atoms in (1, 3 * USD):
        with pytest.raises(StaleRead):
            await ledger.post(rules.clawback("case-1", "acme", 5 * USD, seen_atoms, NOW_MS))


async def test_debt_guard_cannot_be_left_out(ledger: Ledger, desk: Desk) -> None:
    """A debt is credited under an exact guard only, or it might become a deposit."""
    await ledger.post(rules.purchase_created("buy-1", "alice", 500, NOW_MS))
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, 0)
    record = await ledger.find_record("purchase", "buy-1")
    assert record is not None
    whole = rules.purchase(record, "pi-1", 500, "usd", 5 * USD, NOW_MS)
    with pytest.raises(InvariantBroken):
        await ledger.post(replace(whole, guards=whole.guards[:1]))


async def test_dispute_that_was_won_is_not_written_off(ledger: Ledger, desk: Desk) -> None:
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, 0)
    await desk.withdraw_dispute("dp-2", "txn-2", "alice", 2 * USD, 0)
    await desk.reinstate_dispute("dp-1", "txn-3", 5 * USD)
    with pytest.raises(WrongState):
        await desk.write_off("dp-1", "carol")
    assert await ledger.account_atoms("D:alice") == -2 * USD


async def test_floor_of_a_debt_does_not_guard_its_repayment(ledger: Ledger, desk: Desk) -> None:
    """That a debt is at least so much says not that it is no more than is repaid."""
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, 0)
    whole = rules.write_off(await dispute_of(ledger), "carol", 5 * USD, NOW_MS)
    with pytest.raises(InvariantBroken):
        await ledger.post(replace(whole, guards=(whole.guards[0], AvailableAtLeast("D:alice", -5 * USD))))
