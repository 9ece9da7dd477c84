"""Credits bought by card and refunded to it."""

import asyncio

import pytest
from msgspec.structs import replace

from gollem.errors import (
    AccountFrozen,
    InsufficientCredits,
    InvalidField,
    InvariantBroken,
    KeyReused,
    StaleRead,
    WrongState,
)
from gollem.ledger import Ledger, rules
from gollem.ledger.desk import Desk
from gollem.ledger.types import PutRecord, Record
from tests.contracts.samples import CENT, NOW_MS, USD, buy, hold_of, legs, opening, outcomes, state


async def purchase_of(ledger: Ledger, purchase_id: str = "buy-1") -> Record:
    record = await ledger.find_record("purchase", purchase_id)
    assert record is not None
    return record


@pytest.mark.parametrize(("cents", "credits_"), [(100, 1_000), (100_000, 1_000_000)])
async def test_purchase_credits_what_was_paid(ledger: Ledger, desk: Desk, cents: int, credits_: int) -> None:
    """Fault 12: from 1.00 to 1000.00 USD."""
    posted = await buy(ledger, desk, cents)

    assert posted.entry.key == "purchase:pi-buy-1"
    assert legs(posted) == {"A:stripe": -cents * CENT, "U:alice": cents * CENT}
    assert (await ledger.balance("alice")).available_atoms == credits_ * 10**8
    assert await purchase_of(ledger) == Record(
        "purchase",
        "buy-1",
        "CREDITED",
        {"user": "alice", "amount_atoms": cents * CENT, "refunded_atoms": 0, "payment_id": "pi-buy-1", "at_ms": NOW_MS},
    )


@pytest.mark.parametrize("cents", [99, 100_001, 0, -100, 100.5, "100", True])
def test_amounts_out_of_range_or_not_whole_are_refused(cents: int) -> None:
    """Fault 12."""
    with pytest.raises(InvalidField, match="amount_usd"):
        rules.purchase_created("buy-1", "alice", cents, NOW_MS)


@pytest.mark.parametrize(
    ("cents", "currency", "field"), [(500, "eur", "currency"), (499, "usd", "amount"), (501, "usd", "amount")]
)
async def test_payment_of_something_else_credits_nothing(
    ledger: Ledger, desk: Desk, cents: int, currency: str, field: str
) -> None:
    """Faults 12 and 44: another currency or amount than was asked for."""
    await ledger.post(rules.purchase_created("buy-1", "alice", 500, NOW_MS))
    before = await state(ledger)
    with pytest.raises(InvalidField, match=field):
        await desk.credit_purchase("buy-1", "pi-1", cents, currency)
    assert await state(ledger) == before


async def test_purchase_that_was_never_paid_credits_nothing(ledger: Ledger) -> None:
    """Fault 48, of which the ledger sees only this."""
    created = await ledger.post(rules.purchase_created("buy-1", "alice", 500, NOW_MS))

    assert created.entry.legs == ()
    assert (await ledger.balance("alice")).available_atoms == 0
    assert [record.id for record in await ledger.records("purchase", "CREATED")] == ["buy-1"]


async def test_unknown_purchase_credits_nothing(ledger: Ledger, desk: Desk) -> None:
    with pytest.raises(WrongState) as refused:
        await desk.credit_purchase("none", "pi-1", 500, "usd")
    assert refused.value.figures == {"kind": "purchase", "id": "none", "state": "ABSENT"}
    bought = Record("purchase", "none", "CREATED", {"user": "alice", "amount_atoms": 500 * CENT})
    with pytest.raises(WrongState):
        await ledger.post(rules.purchase(bought, "pi-1", 500, "usd", 0, NOW_MS))


async def test_one_payment_told_50_times_credits_once(ledger: Ledger, desk: Desk) -> None:
    """Fault 42, at the ledger."""
    await ledger.post(rules.purchase_created("buy-1", "alice", 500, NOW_MS))
    results = await outcomes([desk.credit_purchase("buy-1", "pi-1", 500, "usd") for _ in range(50)])

    assert sorted(results) == [False] * 49 + [True]  # type: ignore[type-var]
    assert (await ledger.balance("alice")).available_atoms == 5 * USD


async def test_second_payment_of_one_purchase_is_refused(ledger: Ledger, desk: Desk) -> None:
    await buy(ledger, desk, 500)
    with pytest.raises(WrongState) as refused:
        await desk.credit_purchase("buy-1", "pi-other", 500, "usd")
    assert refused.value.figures["state"] == "CREDITED"


async def test_purchase_of_another_than_was_read_is_refused(ledger: Ledger) -> None:
    await ledger.post(rules.purchase_created("buy-1", "alice", 500, NOW_MS))
    read = await purchase_of(ledger)
    for change in ({"user": "bob"}, {"amount_atoms": 600 * CENT}):
        other = replace(read, fields={**read.fields, **change})
        with pytest.raises(StaleRead):
            await ledger.post(rules.purchase(other, "pi-1", other.number("amount_atoms") // CENT, "usd", 0, NOW_MS))


async def test_purchase_id_is_used_once(ledger: Ledger) -> None:
    await ledger.post(rules.purchase_created("buy-1", "alice", 500, NOW_MS))

    assert not (await ledger.post(rules.purchase_created("buy-1", "alice", 500, NOW_MS + 9))).applied
    with pytest.raises(KeyReused):
        await ledger.post(rules.purchase_created("buy-1", "alice", 501, NOW_MS))
    with pytest.raises(WrongState):
        await ledger.post(replace(rules.purchase_created("buy-1", "alice", 500, NOW_MS), key="another"))


async def test_terms_are_kept_with_the_purchase_and_are_part_of_it(ledger: Ledger, desk: Desk) -> None:
    terms = {"customer_id": "cus_1", "card_id": "pm_1"}
    await ledger.post(rules.purchase_created("buy-1", "alice", 500, NOW_MS, terms))
    assert not (await ledger.post(rules.purchase_created("buy-1", "alice", 500, NOW_MS, terms))).applied
    for other in ({}, {"customer_id": "cus_1", "card_id": "pm_2"}):
        with pytest.raises(KeyReused):
            await ledger.post(rules.purchase_created("buy-1", "alice", 500, NOW_MS, other))
    await desk.credit_purchase("buy-1", "pi-1", 500, "usd")
    assert (await purchase_of(ledger)).fields.items() >= terms.items()


def test_terms_change_nothing_of_the_purchase_itself() -> None:
    created = rules.purchase_created("buy-1", "alice", 500, NOW_MS, {"user": "bob", "amount_atoms": 1})
    [effect] = created.effects
    assert isinstance(effect, PutRecord)
    assert (effect.record.text("user"), effect.record.number("amount_atoms")) == ("alice", 5 * USD)


# --- debt first -------------------------------------------------------------------------------------------------------


async def test_debt_is_repaid_first(ledger: Ledger, desk: Desk) -> None:
    """Fault 51: in the purchase itself, in part and then as a whole."""
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 8 * USD, 0)
    first = await buy(ledger, desk, 500)
    second = await buy(ledger, desk, 700, "buy-2")

    assert legs(first) == {"A:stripe": -5 * USD, "D:alice": 5 * USD}
    assert legs(second) == {"A:stripe": -7 * USD, "D:alice": 3 * USD, "U:alice": 4 * USD}
    assert await ledger.account_atoms("D:alice") == 0


@pytest.mark.parametrize("seen_atoms", [0, 3 * USD, 5 * USD])
async def test_purchase_built_from_an_old_debt_is_refused(ledger: Ledger, desk: Desk, seen_atoms: int) -> None:
    """Fault 51: the debt was read, then changed."""
    await ledger.post(rules.purchase_created("buy-1", "alice", 500, NOW_MS))
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 4 * USD, 0)
    before = await state(ledger)
    with pytest.raises(StaleRead) as refused:
        await ledger.post(rules.purchase(await purchase_of(ledger), "pi-1", 500, "usd", seen_atoms, NOW_MS))

    assert refused.value.figures == {"what": "D:alice"}
    assert await state(ledger) == before


async def test_20_purchases_at_once_repay_a_debt_once(ledger: Ledger, desk: Desk) -> None:
    """Fault 51: concurrent purchases read the same debt; losers read again."""
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 12 * USD, 0)
    await asyncio.gather(*(buy(ledger, desk, 100, f"buy-{number}") for number in range(15)))

    assert await ledger.account_atoms("D:alice") == 0
    assert (await ledger.balance("alice")).available_atoms == 3 * USD


# --- refunds (fault 49) -----------------------------------------------------------------------------------------------


async def refunding(ledger: Ledger, desk: Desk, amount_atoms: int = 2 * USD) -> Record:
    """5 USD bought, of which some are being refunded."""
    await buy(ledger, desk, 500)
    await desk.refund("re-1", "buy-1", amount_atoms)
    record = await ledger.find_record("refund", "re-1")
    assert record is not None
    return record


async def test_partial_refund_moves_through_its_own_account(ledger: Ledger, desk: Desk) -> None:
    """Fault 49."""
    refund = await refunding(ledger, desk)
    assert (await ledger.balance("alice")).available_atoms == 3 * USD
    assert await ledger.account_atoms("RF:re-1") == 2 * USD
    assert await ledger.records("refund", "INITIATED") == [refund]

    posted = await desk.post_about("refund", "re-1", lambda record: rules.refund_succeeded(record, "re_1", NOW_MS))
    assert legs(posted) == {"RF:re-1": -2 * USD, "A:stripe": 2 * USD}
    assert await ledger.account_atoms("RF:re-1") == 0
    assert await ledger.account_atoms("A:stripe") == -3 * USD
    assert await ledger.records("refund", "INITIATED") == []


@pytest.mark.parametrize("has_succeeded", [False, True])
async def test_refund_that_failed_comes_back_and_may_be_tried_again(
    ledger: Ledger, desk: Desk, has_succeeded: bool
) -> None:
    """Fault 49: refund.failed at once, and after it succeeded."""
    refund = await refunding(ledger, desk, 5 * USD)
    if has_succeeded:
        await ledger.post(rules.refund_succeeded(refund, "re_1", NOW_MS))
    for expected in (True, False):
        assert (await desk.fail_refund("re-1", "re_1")).applied is expected

    assert (await ledger.balance("alice")).available_atoms == 5 * USD
    assert await ledger.account_atoms("A:stripe") == -5 * USD
    assert (await purchase_of(ledger)).number("refunded_atoms") == 0
    assert (await desk.refund("re-2", "buy-1", 5 * USD)).applied


async def test_refund_succeeds_or_fails_never_both(ledger: Ledger, desk: Desk) -> None:
    """Fault 49: a success that comes after the failure."""
    refund = await refunding(ledger, desk)
    await desk.fail_refund("re-1", "re_1")
    with pytest.raises(WrongState):
        await ledger.post(rules.refund_succeeded(refund, "re_1", NOW_MS))
    bought = await purchase_of(ledger)
    with pytest.raises(WrongState):
        await ledger.post(rules.refund_failed(refund, bought, "re_other", NOW_MS))


async def test_refund_is_refused_when_credits_are_spent(ledger: Ledger, desk: Desk) -> None:
    """Fault 49."""
    await buy(ledger, desk, 500)
    await ledger.post(opening(hold_of(amount_atoms=4 * USD)))
    with pytest.raises(InsufficientCredits):
        await desk.refund("re-1", "buy-1", 2 * USD)
    assert (await purchase_of(ledger)).number("refunded_atoms") == 0


async def test_never_more_than_the_unrefunded_part(ledger: Ledger, desk: Desk) -> None:
    """Fault 49: though there are other credits."""
    await ledger.post(rules.grant("g", "alice", 100 * USD, NOW_MS))
    await refunding(ledger, desk)
    with pytest.raises(InvalidField, match=r"at most 3000\.00000000"):
        await desk.refund("re-2", "buy-1", 3 * USD + CENT)
    assert (await desk.refund("re-3", "buy-1", 3 * USD)).applied
    with pytest.raises(InvalidField):
        await desk.refund("re-4", "buy-1", CENT)


async def test_concurrent_refunds_never_sum_to_more_than_the_purchase(ledger: Ledger, desk: Desk) -> None:
    """Fault 49: all read that nothing was refunded."""
    await ledger.post(rules.grant("g", "alice", 100 * USD, NOW_MS))
    await buy(ledger, desk, 500)
    results = await outcomes([desk.refund(f"re-{number}", "buy-1", 2 * USD) for number in range(8)])

    assert results.count(True) == 2
    assert results.count(InvalidField) == 6
    assert (await purchase_of(ledger)).number("refunded_atoms") == 4 * USD


async def test_refund_built_from_an_old_purchase_is_refused(ledger: Ledger, desk: Desk) -> None:
    await buy(ledger, desk, 500)
    read = await purchase_of(ledger)
    await desk.refund("re-1", "buy-1", 2 * USD)
    with pytest.raises(StaleRead):
        await ledger.post(rules.refund_initiated("re-2", read, CENT, NOW_MS))


async def test_refund_again_is_answered_by_the_first(ledger: Ledger, desk: Desk) -> None:
    """Though nothing is left to refund any more."""
    await refunding(ledger, desk, 5 * USD)

    assert not (await desk.refund("re-1", "buy-1", 5 * USD)).applied
    with pytest.raises(KeyReused):
        await desk.refund("re-1", "buy-1", 4 * USD)


async def test_frozen_user_gets_no_refund(ledger: Ledger, desk: Desk) -> None:
    """Fault 50: a dispute may take the same money."""
    await buy(ledger, desk, 500)
    await ledger.post(rules.user_frozen("f", "alice", None, NOW_MS))
    with pytest.raises(AccountFrozen):
        await desk.refund("re-1", "buy-1", USD)


async def test_unpaid_purchase_and_parts_of_cents_are_not_refunded(ledger: Ledger, desk: Desk) -> None:
    await ledger.post(rules.grant("g", "alice", 100 * USD, NOW_MS))
    await ledger.post(rules.purchase_created("buy-1", "alice", 500, NOW_MS))
    with pytest.raises(WrongState):
        await desk.refund("re-1", "buy-1", USD)
    with pytest.raises(InvariantBroken):
        await desk.refund("re-1", "buy-1", CENT - 1)


async def test_refund_fails_from_what_is_refunded_now(ledger: Ledger, desk: Desk) -> None:
    refund = await refunding(ledger, desk)
    read = await purchase_of(ledger)
    await desk.refund("re-2", "buy-1", USD)
    with pytest.raises(StaleRead):
        await ledger.post(rules.refund_failed(refund, read, "re_1", NOW_MS))
