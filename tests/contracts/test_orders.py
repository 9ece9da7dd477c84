"""Each key once, and the escrow of orders: grants, holds, and how holds end."""

import asyncio
import random

import pytest
from msgspec.structs import replace

from gollem.errors import (
    AccountFrozen,
    GollemError,
    HoldClosed,
    InsufficientCredits,
    InvariantBroken,
    KeyReused,
)
from gollem.ledger import Balance, HoldState, Kind, Ledger, rules
from gollem.ledger.types import AvailableAtLeast, CloseHold, HoldOpen, Leg, OpenHold, Transaction
from tests.contracts.samples import MIDNIGHT_MS, NOW_MS, granting, hold_of, opening, outcomes, state

# --- what each transaction does ---------------------------------------------------------------------------------


async def test_unknown_user_has_nothing_and_is_active(ledger: Ledger) -> None:
    assert await ledger.balance("nobody") == Balance(0, 0, True)
    assert await ledger.user_statement("nobody") == []
    assert (await ledger.provider_balance("nobody")).earned_atoms == 0
    assert await ledger.find_hold("none") is None
    assert await ledger.find_entry("hold:none") is None


async def test_grant_adds_credits(ledger: Ledger) -> None:
    posted = await ledger.post(rules.grant("g", "alice", 500, NOW_MS, "welcome"))

    assert posted.applied
    assert posted.entry.legs == (Leg("X:promo", -500), Leg("U:alice", 500))
    assert (posted.entry.key, posted.entry.detail, posted.entry.at_ms) == ("grant:g", "welcome", NOW_MS)
    assert await ledger.balance("alice") == Balance(500, 0, True)


async def test_hold_moves_credits_into_escrow_and_keeps_its_terms(ledger: Ledger) -> None:
    hold = hold_of(amount_atoms=70, fence=3, terms="a\n\u00e9\u4e2d")
    await ledger.post(granting(100))
    posted = await ledger.post(opening(hold))

    assert posted.entry.legs == (Leg("U:alice", -70), Leg("H:order-1", 70))
    assert await ledger.balance("alice") == Balance(30, 70, True)
    assert await ledger.find_hold("order-1") == hold
    assert await ledger.find_entry("hold:order-1") == posted.entry


async def test_settle_splits_the_hold_into_share_fee_and_refund(ledger: Ledger) -> None:
    hold = hold_of(amount_atoms=100)
    await ledger.post(granting(100))
    await ledger.post(opening(hold))
    posted = await ledger.post(rules.settle(hold, 60, 3, NOW_MS, "measured"))

    legs = {leg.account.split(":")[0]: leg.amount_atoms for leg in posted.entry.legs}
    assert legs == {"H": -100, "PM": 57, "R": 3, "U": 40}
    assert await ledger.balance("alice") == Balance(40, 0, True)
    assert (await ledger.provider_balance("acme")).earned_atoms == 57
    closed = await ledger.find_hold("order-1")
    assert closed == replace(hold, state=HoldState.SETTLED)
    assert closed.remaining_atoms == 0
    assert posted.entry.detail == "measured"


@pytest.mark.parametrize(
    ("usage_atoms", "fee_atoms", "accounts"),
    [(0, 0, "H U"), (100, 0, "H PM"), (100, 100, "H R"), (100, 5, "H PM R"), (1, 1, "H R U")],
)
async def test_settle_leaves_out_zero_legs(ledger: Ledger, usage_atoms: int, fee_atoms: int, accounts: str) -> None:
    hold = hold_of(amount_atoms=100)
    await ledger.post(granting(100))
    await ledger.post(opening(hold))
    posted = await ledger.post(rules.settle(hold, usage_atoms, fee_atoms, NOW_MS))

    assert " ".join(leg.account.split(":")[0] for leg in posted.entry.legs) == accounts
    assert await ledger.balance("alice") == Balance(100 - usage_atoms, 0, True)
    assert (await ledger.provider_balance("acme")).earned_atoms == usage_atoms - fee_atoms


async def test_earnings_of_two_days_and_all_shards_are_one_sum(ledger: Ledger) -> None:
    await ledger.post(granting(1_000))
    accounts = set()
    for number in range(20):
        hold = hold_of(f"order-{number}", 10)
        await ledger.post(opening(hold))
        at_ms = MIDNIGHT_MS - 1 + number % 2
        posted = await ledger.post(rules.settle(hold, 10, 1, at_ms))
        accounts |= {leg.account.rsplit(":", 1)[0] for leg in posted.entry.legs if leg.account.startswith("PM:")}

    assert accounts == {"PM:acme:20270115", "PM:acme:20270116"}
    assert (await ledger.provider_balance("acme")).earned_atoms == 180
    assert (await ledger.provider_balance("acm")).earned_atoms == 0
    assert len(await ledger.provider_statement("acme")) == 20


async def test_void_gives_all_back(ledger: Ledger) -> None:
    hold = hold_of()
    await ledger.post(granting(100))
    await ledger.post(opening(hold))
    posted = await ledger.post(rules.void(hold, NOW_MS, "cancelled"))

    assert (posted.entry.kind, posted.entry.detail) == (Kind.VOID, "cancelled")
    assert await ledger.balance("alice") == Balance(100, 0, True)
    assert (await ledger.find_hold("order-1")) == replace(hold, state=HoldState.VOIDED)


async def test_expiry_is_refused_before_the_deadline(ledger: Ledger) -> None:
    hold = hold_of()
    await ledger.post(granting(100))
    await ledger.post(opening(hold))
    before = await state(ledger)
    with pytest.raises(HoldClosed) as refused:
        await ledger.post(rules.expire(hold, hold.expires_at_ms - 1))

    assert refused.value.figures == {"order_id": "order-1", "state": "OPEN"}
    assert await state(ledger) == before
    posted = await ledger.post(rules.expire(hold, hold.expires_at_ms))
    assert posted.entry.kind is Kind.EXPIRE
    assert (await ledger.find_hold("order-1")) == replace(hold, state=HoldState.EXPIRED)


# --- each key once (faults 1 to 6) ------------------------------------------------------------------------------


async def test_same_key_again_is_answered_by_the_first(ledger: Ledger) -> None:
    first = await ledger.post(granting(100))
    again = await ledger.post(replace(granting(100), at_ms=NOW_MS + 5))

    assert (first.applied, again.applied) == (True, False)
    assert again.entry == first.entry
    assert await ledger.balance("alice") == Balance(100, 0, True)


async def test_64_posts_of_one_key_apply_once(ledger: Ledger) -> None:
    results = await outcomes([ledger.post(granting(100)) for _ in range(64)])

    assert sorted(results) == [False] * 63 + [True]
    assert (await ledger.balance("alice")).available_atoms == 100


@pytest.mark.parametrize("other", [granting(101), granting(100, "bob")], ids=["amount", "user"])
async def test_key_with_other_contents_is_refused(ledger: Ledger, other: Transaction) -> None:
    await ledger.post(granting(100))
    before = await state(ledger, ("alice", "bob"))
    with pytest.raises(KeyReused) as refused:
        await ledger.post(other)

    assert refused.value.figures == {"key": "grant:grant-1"}
    assert await state(ledger, ("alice", "bob")) == before


async def test_retried_hold_is_answered_by_the_first_though_it_found_another_ask(ledger: Ledger) -> None:
    await ledger.post(granting(100))
    first = await ledger.post(opening(hold_of(amount_atoms=60)))
    again = await ledger.post(opening(hold_of(amount_atoms=55, provider="other", terms="other")))

    assert not again.applied
    assert again.entry == first.entry
    assert (await ledger.find_hold("order-1")) == hold_of(amount_atoms=60)
    with pytest.raises(KeyReused):
        await ledger.post(opening(hold_of(amount_atoms=60), "of-another-bid"))


async def test_closed_hold_is_still_answered_by_its_first(ledger: Ledger) -> None:
    hold = hold_of()
    await ledger.post(granting(100))
    await ledger.post(opening(hold))
    await ledger.post(rules.settle(hold, 100, 0, NOW_MS))

    assert not (await ledger.post(opening(hold))).applied
    assert not (await ledger.post(rules.settle(hold, 100, 0, NOW_MS + 1))).applied
    with pytest.raises(KeyReused):
        await ledger.post(rules.settle(hold, 99, 0, NOW_MS))


async def test_settlement_may_bring_its_own_fingerprint(ledger: Ledger) -> None:
    hold = hold_of()
    await ledger.post(granting(100))
    await ledger.post(opening(hold))
    first = await ledger.post(rules.settle(hold, 10, 1, NOW_MS, fingerprint="report-1"))

    assert (await ledger.post(rules.settle(hold, 20, 2, NOW_MS, fingerprint="report-1"))).entry == first.entry


async def test_40_holds_with_funds_for_7(ledger: Ledger) -> None:
    await ledger.post(granting(7 * 100 + 99))
    results = await outcomes([ledger.post(opening(hold_of(f"order-{n}"))) for n in range(40)])

    assert results.count(True) == 7
    assert results.count(InsufficientCredits) == 33
    assert await ledger.balance("alice") == Balance(99, 700, True)
    assert len(await ledger.open_holds()) == 7


async def test_refusal_leaves_no_trace_and_may_succeed_later(ledger: Ledger) -> None:
    await ledger.post(granting(99))
    before = await state(ledger)
    with pytest.raises(InsufficientCredits) as refused:
        await ledger.post(opening(hold_of()))

    assert refused.value.figures == {"needed": "0.00000100", "available": "0.00000099"}
    assert await state(ledger) == before
    await ledger.post(granting(1, grant_id="grant-2"))
    assert (await ledger.post(opening(hold_of()))).applied


async def test_32_posts_that_cannot_be_funded_are_all_refused(ledger: Ledger) -> None:
    results = await outcomes([ledger.post(opening(hold_of())) for _ in range(32)])

    assert results == [InsufficientCredits] * 32
    assert await ledger.find_hold("order-1") is None
    assert await ledger.find_entry("hold:order-1") is None


async def test_frozen_account_opens_no_hold_but_closes_them(ledger: Ledger) -> None:
    hold = hold_of()
    await ledger.post(granting(150))
    await ledger.post(opening(hold))
    await ledger.post(rules.user_frozen("f", "alice", None, NOW_MS))
    with pytest.raises(AccountFrozen) as refused:
        await ledger.post(opening(hold_of("order-2", 1)))

    assert refused.value.figures == {"account": "alice"}
    assert not (await ledger.post(opening(hold))).applied
    await ledger.post(rules.settle(hold, 30, 1, NOW_MS))
    assert await ledger.balance("alice") == Balance(120, 0, False)


# --- what never reaches the store (faults 7 and 9) --------------------------------------------------------------


@pytest.mark.parametrize(
    "legs",
    [
        (Leg("X:promo", -5), Leg("U:alice", 6)),
        (Leg("X:promo", 0), Leg("U:alice", 0)),
        (Leg("X:promo", -(2**62)), Leg("U:alice", 2**62)),
        (Leg("X:promo", -5.0), Leg("U:alice", 5.0)),  # type: ignore[arg-type]
        (Leg("X:promo", True), Leg("U:alice", -1)),
        (),
        (Leg("X:promo", -5), Leg("U:alice", 2), Leg("U:alice", 3)),
        (Leg("U:bob", -5), Leg("U:alice", 5)),
        (Leg("R:fee:0", -5), Leg("U:alice", 5)),
        (Leg("PM:acme:20270115:0", -5), Leg("U:alice", 5)),
        (Leg("H:order-1", -5), Leg("U:alice", 5)),
        (Leg("X:promo", -5), Leg("H:order-1", 5)),
        (Leg("X:promo", -5), Leg("U:al:ice", 5)),
        (Leg("X:promo", -5), Leg("cash", 5)),
    ],
    ids=str,
)
async def test_impossible_legs_are_refused(ledger: Ledger, legs: tuple[Leg, ...]) -> None:
    before = await state(ledger)
    with pytest.raises(InvariantBroken):
        await ledger.post(replace(granting(5), legs=legs))
    assert await state(ledger) == before


@pytest.mark.parametrize(
    "change",
    [
        {"key": ""},
        {"key": "k" * 257},
        {"at_ms": -1},
        {"detail": "\ud800"},
        {"detail": "x" * 65_537},
        {"key": "hold:order-2"},
        {"guards": ()},
        {"guards": (AvailableAtLeast("U:alice", 99),)},
        {"guards": (AvailableAtLeast("U:bob", 100),)},
        {"effects": ()},
        {"effects": (OpenHold(hold_of(amount_atoms=99)),)},
        {"effects": (OpenHold(hold_of(provider="a:b")),)},
        {"effects": (OpenHold(hold_of(expires_at_ms=2**63)),)},
        {"effects": (CloseHold("order-1", "alice", 100, HoldState.VOIDED),)},
    ],
    ids=str,
)
async def test_impossible_transactions_are_refused(ledger: Ledger, change: dict[str, object]) -> None:
    await ledger.post(granting(100))
    with pytest.raises(InvariantBroken):
        await ledger.post(replace(opening(hold_of()), **change))  # type: ignore[arg-type]
    assert await ledger.balance("alice") == Balance(100, 0, True)


@pytest.mark.parametrize(("usage_atoms", "fee_atoms"), [(101, 0), (-1, 0), (50, 51), (50, -1)])
async def test_settlement_outside_its_hold_is_refused(ledger: Ledger, usage_atoms: int, fee_atoms: int) -> None:
    hold = hold_of()
    await ledger.post(granting(100))
    await ledger.post(opening(hold))
    with pytest.raises(InvariantBroken):
        await ledger.post(rules.settle(hold, usage_atoms, fee_atoms, NOW_MS))
    assert await ledger.balance("alice") == Balance(0, 100, True)


async def test_account_that_would_leave_its_range_is_refused(ledger: Ledger) -> None:
    await ledger.post(granting(2**62 - 1))
    with pytest.raises(InvariantBroken):
        await ledger.post(granting(1, grant_id="grant-2"))
    assert (await ledger.balance("alice")).available_atoms == 2**62 - 1
    assert await ledger.find_entry("grant:grant-2") is None


# --- closing a hold once (faults 8, 30, 31) ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_settle_void_and_expiry_race_and_one_wins(ledger: Ledger, seed: int) -> None:
    hold = hold_of()
    await ledger.post(granting(100))
    await ledger.post(opening(hold))
    late_ms = hold.expires_at_ms
    closings = [rules.settle(hold, 60, 3, late_ms)] * 3
    closings += [rules.void(hold, late_ms)] * 2 + [rules.expire(hold, late_ms)] * 3
    random.Random(seed).shuffle(closings)
    results = await outcomes([ledger.post(closing) for closing in closings])

    winner = closings[results.index(True)]
    same_key = [closing.key == winner.key for closing in closings]
    assert results.count(True) == 1
    assert [result is not HoldClosed for result in results] == same_key
    settled = winner.kind is Kind.SETTLE
    assert await ledger.balance("alice") == Balance(40 if settled else 100, 0, True)
    assert (await ledger.provider_balance("acme")).earned_atoms == (57 if settled else 0)


async def test_void_after_expiry_is_answered_by_the_expiry(ledger: Ledger) -> None:
    hold = hold_of()
    await ledger.post(granting(100))
    await ledger.post(opening(hold))
    expired = await ledger.post(rules.expire(hold, hold.expires_at_ms))
    voided = await ledger.post(rules.void(hold, hold.expires_at_ms))

    assert (voided.applied, voided.entry) == (False, expired.entry)


async def test_settle_after_expiry_is_refused(ledger: Ledger) -> None:
    hold = hold_of()
    await ledger.post(granting(100))
    await ledger.post(opening(hold))
    await ledger.post(rules.expire(hold, hold.expires_at_ms))
    with pytest.raises(HoldClosed) as refused:
        await ledger.post(rules.settle(hold, 60, 3, NOW_MS))

    assert refused.value.figures == {"order_id": "order-1", "state": "EXPIRED"}
    assert await ledger.balance("alice") == Balance(100, 0, True)


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [({"fence": 1}, "OPEN"), ({"amount_atoms": 99}, "OPEN"), ({"order_id": "order-2"}, "ABSENT")],
    ids=["fence", "amount", "order"],
)
async def test_hold_is_closed_only_as_it_was_opened(ledger: Ledger, wrong: dict[str, object], shown: str) -> None:
    await ledger.post(granting(1_000))
    await ledger.post(opening(hold_of(fence=2)))
    before = await state(ledger)
    for closing in (rules.settle, rules.void):
        arguments = (50, 5, NOW_MS) if closing is rules.settle else (NOW_MS,)
        with pytest.raises(HoldClosed) as refused:
            await ledger.post(closing(hold_of(**({"fence": 2} | wrong)), *arguments))  # type: ignore[arg-type]
        assert refused.value.figures["state"] == shown
    assert await state(ledger) == before


async def test_hold_of_another_user_is_not_closed(ledger: Ledger) -> None:
    await ledger.post(granting(1_000))
    await ledger.post(granting(1_000, "bob", "grant-2"))
    await ledger.post(opening(hold_of()))
    await ledger.post(opening(hold_of("order-2", user="bob")))
    before = await state(ledger, ("alice", "bob"))
    with pytest.raises(InvariantBroken):
        await ledger.post(rules.void(hold_of(user="bob"), NOW_MS))
    assert await state(ledger, ("alice", "bob")) == before
    await ledger.post(rules.settle(hold_of(), 1, 0, NOW_MS))
    with pytest.raises(HoldClosed):
        await ledger.post(rules.void(hold_of(user="bob"), NOW_MS))


async def test_two_sweepers_void_each_hold_once(ledger: Ledger) -> None:
    await ledger.post(granting(1_000))
    holds = [hold_of(f"order-{number}", expires_at_ms=NOW_MS + number) for number in range(10)]
    for hold in holds:
        await ledger.post(opening(hold))
    late_ms = NOW_MS + 3_600_000
    found = [await ledger.expired_holds(late_ms) for _ in range(2)]
    results = await outcomes([ledger.post(rules.expire(hold, late_ms)) for hold in found[0] + found[1]])

    assert found == [holds, holds]
    assert results == [True] * 10 + [False] * 10
    assert await ledger.balance("alice") == Balance(1_000, 0, True)
    assert await ledger.expired_holds(late_ms) == []


async def test_expired_holds_come_by_deadline_and_in_pages(ledger: Ledger) -> None:
    await ledger.post(granting(1_000))
    deadlines = {"c": 1, "a": 2, "b": 1, "d": 3, "e": 4}
    for order_id, after_ms in deadlines.items():
        await ledger.post(opening(hold_of(order_id, 1, expires_at_ms=NOW_MS + after_ms)))

    overdue = await ledger.expired_holds(NOW_MS + 3)
    assert [hold.order_id for hold in overdue] == ["b", "c", "a", "d"]
    assert await ledger.expired_holds(NOW_MS + 3, limit=2) == overdue[:2]
    assert await ledger.expired_holds(NOW_MS) == []


async def test_clock_that_jumps_back_neither_collides_nor_expires(ledger: Ledger) -> None:
    """Fault 15: order is by sequence, keys do not hold the time."""
    early_ms = NOW_MS - 3_600_000
    await ledger.post(granting(100))
    await ledger.post(opening(hold_of()))
    with pytest.raises(HoldClosed):
        await ledger.post(rules.expire(hold_of(), early_ms))
    second = await ledger.post(rules.grant("grant-2", "alice", 5, early_ms))

    lines = await ledger.user_statement("alice")
    assert [line.key for line in lines] == ["grant:grant-2", "hold:order-1", "grant:grant-1"]
    assert second.entry.at_ms == early_ms


# --- sums (faults 10, 11) ---------------------------------------------------------------------------------------


async def test_random_micro_settlements_lose_no_atom(ledger: Ledger) -> None:
    chance = random.Random(7)
    await ledger.post(granting(10**6))
    charged = fees = 0

    async def one(number: int) -> None:
        nonlocal charged, fees
        hold = hold_of(f"order-{number}", chance.randint(1, 50))
        await ledger.post(opening(hold))
        usage = chance.randint(0, hold.amount_atoms)
        fee = usage * chance.choice((0, 1, 333, 500, 9_999, 10_000)) // 10_000
        await ledger.post(rules.settle(hold, usage, fee, NOW_MS))
        charged, fees = charged + usage, fees + fee

    await asyncio.gather(*(one(number) for number in range(500)))

    assert await ledger.balance("alice") == Balance(10**6 - charged, 0, True)
    assert (await ledger.provider_balance("acme")).earned_atoms == charged - fees


# --- lists ------------------------------------------------------------------------------------------------------


async def test_open_holds_come_by_order_and_in_pages(ledger: Ledger) -> None:
    await ledger.post(granting(1_000))
    for order_id in ("b", "d", "a", "c", "e"):
        await ledger.post(opening(hold_of(order_id, 1)))
    await ledger.post(rules.void(hold_of("d", 1), NOW_MS))

    assert [hold.order_id for hold in await ledger.open_holds()] == ["a", "b", "c", "e"]
    assert [hold.order_id for hold in await ledger.open_holds(limit=2)] == ["a", "b"]
    assert [hold.order_id for hold in await ledger.open_holds(after="b", limit=2)] == ["c", "e"]
    assert await ledger.open_holds(after="e") == []


async def test_statement_pages_neither_miss_nor_repeat_while_lines_arrive(ledger: Ledger) -> None:
    for number in range(10):
        await ledger.post(granting(number + 1, grant_id=f"grant-{number}"))
    seen = []
    page = await ledger.user_statement("alice", limit=3)
    while page:
        seen += page
        await ledger.post(granting(1, grant_id=f"late-{len(seen)}"))
        page = await ledger.user_statement("alice", cursor=page[-1].cursor, limit=3)

    assert [line.amount_atoms for line in seen] == list(range(10, 0, -1))
    assert len({line.cursor for line in seen}) == len(seen)


async def test_statements_show_each_side_its_own_legs(ledger: Ledger) -> None:
    hold = hold_of()
    await ledger.post(granting(100))
    await ledger.post(granting(7, "bob", "grant-2"))
    await ledger.post(opening(hold))
    await ledger.post(rules.settle(hold, 60, 3, NOW_MS + 9))

    mine = [(line.kind, line.amount_atoms, line.order_id) for line in await ledger.user_statement("alice")]
    assert mine == [(Kind.SETTLE, 40, "order-1"), (Kind.HOLD, -100, "order-1"), (Kind.GRANT, 100, "")]
    theirs = await ledger.provider_statement("acme")
    assert [(line.key, line.amount_atoms, line.at_ms) for line in theirs] == [("settle:order-1", 57, NOW_MS + 9)]


# --- the group (fault 29) ---------------------------------------------------------------------------------------


async def test_refused_ones_of_a_group_leave_the_others(ledger: Ledger) -> None:
    await ledger.post(granting(100))
    bad_close = rules.void(hold_of("none"), NOW_MS)
    overflow = granting(2**62 - 1, grant_id="too-much")
    posts = [opening(hold_of("order-1", 60)), opening(hold_of("order-2", 60)), bad_close, overflow]
    posts += [granting(1, "bob", "grant-2"), opening(hold_of("order-3", 40)), granting(9, "alice", "grant-2")]
    results = await outcomes([ledger.post(transaction) for transaction in posts])

    assert results == [True, InsufficientCredits, HoldClosed, InvariantBroken, True, True, KeyReused]
    assert await ledger.balance("alice") == Balance(0, 100, True)
    assert (await ledger.balance("bob")).available_atoms == 1


async def test_guard_that_the_transaction_lies_about_is_refused(ledger: Ledger) -> None:
    """A guard of another hold does not open this one."""
    await ledger.post(granting(200))
    await ledger.post(opening(hold_of("order-1")))
    await ledger.post(opening(hold_of("order-2")))
    lie = replace(rules.void(hold_of("order-1"), NOW_MS), guards=(HoldOpen("order-2", 100, 0),))
    with pytest.raises(GollemError):
        await ledger.post(lie)
    assert await ledger.balance("alice") == Balance(0, 200, True)
