"""Payouts, from what is payable to the provider's bank and, sometimes, back."""

import asyncio

import pytest
from msgspec.structs import replace

from gollem.errors import InsufficientCredits, InvariantBroken, KeyReused, StaleRead, WrongState
from gollem.ledger import Ledger, rules
from gollem.ledger.desk import Desk
from gollem.ledger.types import Kind, Record, RecordIs, Transaction, UpdateRecord
from tests.contracts.samples import CENT, DAY_MS, NOW_MS, USD, earn, legs, outcomes, state
from tests.fakes.clock import FakeClock

LEAST = 100 * USD


@pytest.fixture
async def payable(ledger: Ledger, desk: Desk, clock: FakeClock) -> int:
    """acme may be paid, and has this."""
    await ledger.post(rules.provider_registered("acme", "acct_1", enabled=True, now_ms=NOW_MS))
    await earn(ledger, 150 * USD)
    clock.advance_ms(7 * DAY_MS)
    await desk.mature_due()
    return 150 * USD


async def payout_of(ledger: Ledger, payout_id: str = "po-1") -> Record:
    record = await ledger.find_record("payout", payout_id)
    assert record is not None
    return record


async def payee_of(ledger: Ledger) -> Record:
    record = await ledger.find_record("provider", "acme")
    assert record is not None
    return record


async def test_payout_to_the_bank(ledger: Ledger, desk: Desk, payable: int) -> None:
    assert (await desk.pay_out("po-1", "acme", LEAST)) is not None
    assert await ledger.account_atoms("PO:po-1") == payable
    assert (await payee_of(ledger)).fields["open_payout"] == "po-1"
    assert [record.id for record in await ledger.records("payout", "INITIATED")] == ["po-1"]

    transferred = await ledger.post(rules.payout_transferred(await payout_of(ledger), "tr_1", NOW_MS))
    memo = {"A:conn:acme": -payable, "L:conn:acme": payable}
    assert legs(transferred) == {"PO:po-1": -payable, "A:stripe": payable} | memo
    assert (await payee_of(ledger)).fields["open_payout"] == ""

    paid = await ledger.post(rules.payout_paid(await payout_of(ledger), "po_1", 0, NOW_MS))
    assert paid.entry.key == "po_paid:po_1:0"
    assert legs(paid) == {"A:conn:acme": payable, "A:paid:acme": -payable}
    assert (await payout_of(ledger)).state == "PAID"
    assert await ledger.records("payout", "INITIATED") == []


@pytest.mark.parametrize(
    ("earned_atoms", "paid_atoms"),
    [(LEAST - CENT, None), (LEAST, LEAST), (LEAST + 9 * CENT // 10, LEAST)],
    ids=["99.99", "100.00", "100.009"],
)
async def test_whole_cents_above_the_threshold_are_paid_and_dust_stays(
    ledger: Ledger, desk: Desk, clock: FakeClock, earned_atoms: int, paid_atoms: int | None
) -> None:
    """Fault 59."""
    await ledger.post(rules.provider_registered("acme", "acct_1", enabled=True, now_ms=NOW_MS))
    await earn(ledger, earned_atoms)
    clock.advance_ms(7 * DAY_MS)
    await desk.mature_due()
    posted = await desk.pay_out("po-1", "acme", LEAST)

    assert (posted and legs(posted)["PO:po-1"]) == paid_atoms
    assert (await ledger.provider_balance("acme")).payable_atoms == earned_atoms - (paid_atoms or 0)


async def test_three_triggers_at_the_same_instant_make_one_payout(ledger: Ledger, desk: Desk, payable: int) -> None:
    """Fault 53, at the ledger: monthly, threshold and manual, each from two nodes."""
    triggers = ["po:acme:202701".replace(":", "-"), "auto-7", "manual-1"] * 2
    posted = await asyncio.gather(*(desk.pay_out(payout_id, "acme", LEAST) for payout_id in triggers))

    assert [bool(one and one.applied) for one in posted].count(True) == 1
    payouts = {one.entry.key for one in posted if one}
    assert len(payouts) == 1
    assert await ledger.account_atoms("P:acme") == 0


async def test_payouts_built_from_one_reading_make_one(ledger: Ledger, payable: int) -> None:
    """Fault 53, without the desk: the provider has one slot, though the money would do for both."""
    payee = await payee_of(ledger)
    posts = [rules.payout_initiated(f"po-{number}", payee, 10 * USD, NOW_MS) for number in range(8)]
    results = await outcomes([ledger.post(transaction) for transaction in posts])

    assert results.count(True) == 1
    assert results.count(StaleRead) == 7
    assert await ledger.account_atoms("P:acme") == payable - 10 * USD


async def test_payout_again_is_answered_by_the_first_whatever_was_earned_since(
    ledger: Ledger, desk: Desk, clock: FakeClock, payable: int
) -> None:
    """A monthly id that a second run uses again."""
    await desk.pay_out("po-1", "acme", LEAST)
    await ledger.post(rules.payout_transferred(await payout_of(ledger), "tr_1", NOW_MS))
    await earn(ledger, 200 * USD, "order-2", clock.now_ms())
    clock.advance_ms(7 * DAY_MS)
    await desk.mature_due()
    again = await desk.pay_out("po-1", "acme", LEAST)

    assert again is not None
    assert (again.applied, legs(again)["PO:po-1"]) == (False, payable)
    await ledger.post(rules.provider_registered("zeta", "acct_2", enabled=True, now_ms=NOW_MS))
    with pytest.raises(KeyReused):
        await desk.pay_out("po-1", "zeta", 0)


async def test_payout_never_exceeds_what_is_payable(ledger: Ledger, payable: int) -> None:
    with pytest.raises(InsufficientCredits):
        await ledger.post(rules.payout_initiated("po-1", await payee_of(ledger), payable + CENT, NOW_MS))
    with pytest.raises(InvariantBroken):
        rules.payout_initiated("po-1", await payee_of(ledger), CENT + 1, NOW_MS)


async def test_payout_to_a_provider_that_may_not_be_paid_or_moved_its_account(ledger: Ledger, payable: int) -> None:
    """Fault 57, at the ledger: between reading and posting."""
    read = await payee_of(ledger)
    await ledger.post(rules.provider_changed(read, "acct_2", enabled=True, now_ms=NOW_MS))
    with pytest.raises(StaleRead):
        await ledger.post(rules.payout_initiated("po-1", read, USD, NOW_MS))
    await ledger.post(rules.provider_changed(await payee_of(ledger), "acct_2", enabled=False, now_ms=NOW_MS))
    with pytest.raises(WrongState) as refused:
        await ledger.post(rules.payout_initiated("po-1", await payee_of(ledger), USD, NOW_MS))
    assert refused.value.figures["state"] == "DISABLED"


async def test_provider_changes_one_version_at_a_time(ledger: Ledger, payable: int) -> None:
    read = await payee_of(ledger)
    await ledger.post(rules.provider_changed(read, "acct_2", enabled=True, now_ms=NOW_MS))
    with pytest.raises(KeyReused):
        await ledger.post(rules.provider_changed(read, "acct_3", enabled=True, now_ms=NOW_MS))
    assert not (await ledger.post(rules.provider_changed(read, "acct_2", enabled=True, now_ms=NOW_MS))).applied
    assert [record.id for record in await ledger.records("provider", "ENABLED")] == ["acme"]


async def test_cancelled_payout_is_payable_again(ledger: Ledger, desk: Desk, payable: int) -> None:
    await desk.pay_out("po-1", "acme", LEAST)
    posted = await ledger.post(rules.payout_cancelled(await payout_of(ledger), NOW_MS))

    assert legs(posted) == {"PO:po-1": -payable, "P:acme": payable}
    assert (await payee_of(ledger)).fields["open_payout"] == ""
    assert (await desk.pay_out("po-2", "acme", LEAST)) is not None


async def test_payout_is_transferred_or_cancelled_never_both(ledger: Ledger, desk: Desk, payable: int) -> None:
    """Fault 54, at the ledger: built from the same reading."""
    await desk.pay_out("po-1", "acme", LEAST)
    read = await payout_of(ledger)
    posts = [rules.payout_transferred(read, "tr_1", NOW_MS), rules.payout_cancelled(read, NOW_MS)]
    posts += [rules.payout_transferred(read, "tr_2", NOW_MS)]
    results = await outcomes([ledger.post(transaction) for transaction in posts * 4])

    assert results.count(True) == 1
    assert results.count(WrongState) == 8
    assert await ledger.account_atoms("PO:po-1") == 0


async def test_payout_that_failed_after_it_was_paid(ledger: Ledger, desk: Desk, payable: int) -> None:
    """Fault 58: failed at once, tried again, paid, failed after that, and back to the platform in the end."""

    async def step(build: object, *arguments: object) -> dict[str, int]:
        return legs(await ledger.post(build(await payout_of(ledger), *arguments, NOW_MS)))  # type: ignore[operator]

    await desk.pay_out("po-1", "acme", LEAST)
    await step(rules.payout_transferred, "tr_1")
    assert await step(rules.payout_failed, "po_1", 0) == {}
    banked = {"A:conn:acme": payable, "A:paid:acme": -payable}
    assert await step(rules.payout_paid, "po_2", 1) == banked
    assert await step(rules.payout_failed, "po_2", 1) == {account: -atoms for account, atoms in banked.items()}
    assert [record.id for record in await ledger.records("payout", "FAILED")] == ["po-1"]
    back = {"A:conn:acme": payable, "L:conn:acme": -payable}
    assert await step(rules.payout_reversed, "trr_1") == {"A:stripe": -payable, "P:acme": payable} | back

    balances = [
        await ledger.account_atoms(account) for account in ("A:conn:acme", "L:conn:acme", "A:paid:acme", "PO:po-1")
    ]
    assert balances == [0, 0, 0, 0]
    assert (await ledger.provider_balance("acme")).payable_atoms == payable


async def test_events_of_a_payout_in_the_wrong_order_or_twice(ledger: Ledger, desk: Desk, payable: int) -> None:
    """Fault 58: states only move forward, each event counts once."""
    await desk.pay_out("po-1", "acme", LEAST)
    read = await payout_of(ledger)
    before = await state(ledger)
    early = [rules.payout_paid(read, "po_1", 0, NOW_MS), rules.payout_failed(read, "po_1", 0, NOW_MS)]
    early += [rules.payout_reversed(read, "trr_1", NOW_MS)]
    for transaction in early:
        with pytest.raises(WrongState):
            await ledger.post(transaction)
    assert await state(ledger) == before

    await ledger.post(rules.payout_transferred(read, "tr_1", NOW_MS))
    await ledger.post(rules.payout_paid(read, "po_1", 0, NOW_MS))
    assert not (await ledger.post(rules.payout_paid(read, "po_1", 0, NOW_MS))).applied
    with pytest.raises(WrongState):
        await ledger.post(rules.payout_paid(read, "po_other", 0, NOW_MS))
    with pytest.raises(WrongState):
        await ledger.post(rules.payout_reversed(read, "trr_1", NOW_MS))


async def test_old_attempt_does_not_count(ledger: Ledger, desk: Desk, payable: int) -> None:
    await desk.pay_out("po-1", "acme", LEAST)
    await ledger.post(rules.payout_transferred(await payout_of(ledger), "tr_1", NOW_MS))
    await ledger.post(rules.payout_failed(await payout_of(ledger), "po_1", 0, NOW_MS))
    late: list[Transaction] = [
        rules.payout_paid(await payout_of(ledger), "po_1", 0, NOW_MS),
        rules.payout_failed(await payout_of(ledger), "po_2", 0, NOW_MS),
    ]
    for transaction in late:
        with pytest.raises(StaleRead):
            await ledger.post(transaction)


async def test_desk_posts_about_the_record_as_it_is(ledger: Ledger, desk: Desk, payable: int) -> None:
    await desk.pay_out("po-1", "acme", LEAST)
    posted = await desk.post_about("payout", "po-1", lambda payout: rules.payout_transferred(payout, "tr_1", NOW_MS))
    assert posted.applied
    with pytest.raises(WrongState) as refused:
        await desk.post_about("payout", "po-9", lambda payout: rules.payout_cancelled(payout, NOW_MS))
    assert refused.value.figures == {"kind": "payout", "id": "po-9", "state": "ABSENT"}


async def test_one_payout_at_a_time_and_none_while_in_debt(ledger: Ledger, desk: Desk, payable: int) -> None:
    """Fault 60: what a cancelled payout brings back is payable, but not paid before the debt is repaid."""
    await ledger.post(rules.payout_initiated("po-1", await payee_of(ledger), 10 * USD, NOW_MS))
    assert await desk.pay_out("po-2", "acme", LEAST) is None
    with pytest.raises(StaleRead):
        await ledger.post(rules.payout_initiated("po-2", await payee_of(ledger), USD, NOW_MS))

    await desk.claw_back("case-1", "acme", payable)
    await ledger.post(rules.payout_cancelled(await payout_of(ledger), NOW_MS))
    balance = await ledger.provider_balance("acme")
    assert (balance.payable_atoms, balance.debt_atoms) == (10 * USD, 10 * USD)
    assert await desk.pay_out("po-2", "acme", USD) is None
    with pytest.raises(StaleRead) as refused:
        await ledger.post(rules.payout_initiated("po-2", await payee_of(ledger), USD, NOW_MS))
    assert refused.value.figures == {"what": "DP:acme"}


async def test_payout_built_before_another_one_came_and_went_is_refused(ledger: Ledger, payable: int) -> None:
    read = await payee_of(ledger)
    await ledger.post(rules.payout_initiated("po-1", read, USD, NOW_MS))
    await ledger.post(rules.payout_cancelled(await payout_of(ledger), NOW_MS))
    assert (await payee_of(ledger)).fields["open_payout"] == ""
    with pytest.raises(StaleRead):
        await ledger.post(rules.payout_initiated("po-2", read, USD, NOW_MS))


async def test_payout_frees_only_its_own_place(ledger: Ledger, desk: Desk, payable: int) -> None:
    """Should the provider's record ever name another one, nothing moves."""
    await desk.pay_out("po-1", "acme", LEAST)
    damage = Transaction(
        key="damage",
        kind=Kind.PROVIDER,
        legs=(),
        fingerprint="",
        at_ms=NOW_MS,
        guards=(RecordIs("provider", "acme", ("ENABLED",)),),
        effects=(UpdateRecord("provider", "acme", None, {"open_payout": "po-9"}),),
    )
    await ledger.post(damage)
    with pytest.raises(StaleRead):
        await ledger.post(rules.payout_transferred(await payout_of(ledger), "tr_1", NOW_MS))


async def test_provider_is_changed_from_what_was_read(ledger: Ledger, payable: int) -> None:
    read = await payee_of(ledger)
    await ledger.post(rules.provider_changed(read, "acct_2", enabled=True, now_ms=NOW_MS))
    late = replace(rules.provider_changed(read, "acct_3", enabled=True, now_ms=NOW_MS), key="another")
    with pytest.raises(StaleRead):
        await ledger.post(late)
