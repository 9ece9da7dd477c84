"""The fifteen invariants of the public ledger-conformance-kit, on every backend (docs/conformance.md).

Stated anew in this ledger's words: its accounts are users and providers, its transfers are grants, holds and
settlements. Numbers are the kit's. `make mutants` shows for each a defect that turns it red.
"""

import asyncio
import random

import pytest

from gollem.errors import HoldClosed, InsufficientCredits, InvariantBroken
from gollem.ledger import Entry, Ledger, rules
from gollem.ledger.accounts import fee_account
from gollem.ledger.types import Leg, Transaction
from tests.contracts.samples import NOW_MS, granting, hold_of, many, opening, outcomes

USERS = ("alice", "bob", "carol", "dave")
FUNDS_ATOMS = 2**61 + 1  # beyond what a double can tell apart


async def trade(ledger: Ledger, orders: int) -> list[str]:
    """Grants, and orders that are settled, voided, left open or refused, all at once; the keys that were written."""
    chance = random.Random(orders)
    await asyncio.gather(*(ledger.post(granting(20 * orders, user, f"grant-{user}")) for user in USERS))
    written = [f"grant:grant-{user}" for user in USERS]

    async def one(number: int) -> None:
        hold = hold_of(f"order-{number}", chance.randint(1, 100), user=chance.choice(USERS))
        closings: list[Transaction | None] = [rules.void(hold, NOW_MS), rules.settle(hold, 1, 1, NOW_MS), None]
        for transaction in (opening(hold), chance.choice(closings)):
            if transaction:
                try:
                    await ledger.post(transaction)
                except (InsufficientCredits, HoldClosed):
                    return
                written.append(transaction.key)

    await asyncio.gather(*(one(number) for number in range(orders)))
    return written


async def journal(ledger: Ledger, keys: list[str]) -> list[Entry]:
    """In the order in which they were written."""
    entries = [entry for key in keys if (entry := await ledger.find_entry(key))]
    assert len(entries) == len(keys)
    return sorted(entries, key=lambda entry: entry.sequence)


async def projection(ledger: Ledger, keys: list[str]) -> dict[str, int]:
    """The balance of every account as the journal alone tells it."""
    balances: dict[str, int] = {}
    for entry in await journal(ledger, keys):
        for leg in entry.legs:
            balances[leg.account] = balances.get(leg.account, 0) + leg.amount_atoms
    return balances


async def test_inv_01_every_transaction_is_balanced(ledger: Ledger) -> None:
    keys = await trade(ledger, 40)
    one_sided = Transaction("grant:x", granting(1).kind, (Leg("X:promo", -5), Leg("U:alice", 6)), "", NOW_MS)
    with pytest.raises(InvariantBroken, match="sum to 1 atoms"):
        await ledger.post(one_sided)

    assert await ledger.find_entry("grant:x") is None
    assert {sum(leg.amount_atoms for leg in entry.legs) for entry in await journal(ledger, keys)} == {0}


async def test_inv_02_the_journal_is_append_only(ledger: Ledger) -> None:
    keys = await trade(ledger, 40)
    before = await journal(ledger, keys)
    for key in keys:
        if key.startswith("hold:") and f"void:{key[5:]}" in keys:
            await ledger.post(granting(1, grant_id=f"late-{key}"))

    assert await journal(ledger, keys) == before


async def test_inv_04_a_duplicate_is_no_operation(ledger: Ledger) -> None:
    first = await ledger.post(granting(2_500))
    again = await ledger.post(granting(2_500))

    assert (again.applied, again.entry) == (False, first.entry)
    assert (await ledger.balance("alice")).available_atoms == 2_500
    assert len(await ledger.user_statement("alice")) == 1


async def test_inv_05_concurrent_duplicates_collapse_to_one(ledger: Ledger) -> None:
    results = await outcomes([ledger.post(granting(2_500)) for _ in range(64)])

    assert sorted(results) == [False] * 63 + [True]
    assert (await ledger.balance("alice")).available_atoms == 2_500


async def test_inv_06_a_hot_account_loses_no_update(ledger: Ledger) -> None:
    """500 at once to one user, then 500 settlements at once to one provider and the platform (fault 11)."""
    times = many(ledger, 500)
    grants = [ledger.post(granting(100, grant_id=f"g-{number}")) for number in range(times)]
    assert await outcomes(grants) == [True] * times
    assert (await ledger.balance("alice")).available_atoms == 100 * times
    holds = [hold_of(f"order-{number}") for number in range(times)]
    assert await outcomes([ledger.post(opening(hold)) for hold in holds]) == [True] * times
    assert await outcomes([ledger.post(rules.settle(hold, 100, 3, NOW_MS)) for hold in holds]) == [True] * times

    assert (await ledger.balance("alice")).available_atoms == 0
    assert (await ledger.provider_balance("acme")).earned_atoms == 97 * times
    shards = {fee_account(hold.order_id) for hold in holds}
    assert sum([await ledger.account_atoms(shard) for shard in shards]) == 3 * times
    assert len(shards) > 8


async def test_inv_07_value_is_conserved_under_concurrent_transfers(ledger: Ledger) -> None:
    keys = await trade(ledger, many(ledger, 200))
    users = [await ledger.balance(user) for user in USERS]
    fees = sum(atoms for account, atoms in (await projection(ledger, keys)).items() if account.startswith("R:fee"))

    assert fees > 0
    assert sum(user.available_atoms + user.held_atoms for user in users) + fees == len(USERS) * 20 * many(ledger, 200)
    assert (await ledger.provider_balance("acme")).earned_atoms == 0


async def test_inv_08_a_balance_is_what_the_journal_says(ledger: Ledger) -> None:
    keys = await trade(ledger, many(ledger, 200))
    told = await projection(ledger, keys)

    for user in USERS:
        lines = await ledger.user_statement(user, limit=1_000)
        assert (await ledger.balance(user)).available_atoms == told[f"U:{user}"]
        assert sum(line.amount_atoms for line in lines) == told[f"U:{user}"]


async def test_inv_09_the_guard_holds_under_a_concurrent_drain(ledger: Ledger) -> None:
    await ledger.post(granting(1_000))
    results = await outcomes([ledger.post(opening(hold_of(f"order-{number}"))) for number in range(20)])

    assert sorted(results, key=str).count(True) == 10
    assert results.count(InsufficientCredits) == 10
    assert (await ledger.balance("alice")).available_atoms == 0


async def test_inv_10_small_movements_do_not_drift(ledger: Ledger) -> None:
    """One atom at a time, beside an amount where a double has lost its atoms."""
    await ledger.post(granting(FUNDS_ATOMS))
    times = many(ledger, 1_000)
    for number in range(times):
        hold = hold_of(f"order-{number}", 1)
        await ledger.post(opening(hold))
        await ledger.post(rules.settle(hold, 1, 0, NOW_MS))

    assert (await ledger.balance("alice")).available_atoms == FUNDS_ATOMS - times
    assert (await ledger.provider_balance("acme")).earned_atoms == times


async def test_inv_11_there_is_one_currency(ledger: Ledger) -> None:
    """Credits are the only asset: a leg cannot say another, so none can be mixed."""
    assert Leg.__struct_fields__ == ("account", "amount_atoms")
    for account in ("USD:alice", "U:alice:EUR"):
        with pytest.raises(InvariantBroken, match="is no account"):
            await ledger.post(
                Transaction("k", granting(1).kind, (Leg("X:promo", -5), Leg(account, 5)), "", NOW_MS),
            )


async def test_inv_12_a_reversal_compensates_and_deletes_nothing(ledger: Ledger) -> None:
    await ledger.post(granting(3_000))
    held = await ledger.post(opening(hold_of(amount_atoms=3_000)))
    voided = await ledger.post(rules.void(hold_of(amount_atoms=3_000), NOW_MS))

    assert await journal(ledger, ["hold:order-1", "void:order-1"]) == [held.entry, voided.entry]
    assert {leg.account: -leg.amount_atoms for leg in held.entry.legs} == {
        leg.account: leg.amount_atoms for leg in voided.entry.legs
    }
    assert [line.amount_atoms for line in await ledger.user_statement("alice")] == [3_000, -3_000, 3_000]
    assert (await ledger.balance("alice")).available_atoms == 3_000


async def test_inv_13_the_state_rebuilds_from_the_journal(ledger: Ledger) -> None:
    keys = await trade(ledger, many(ledger, 200))
    rebuilt = await projection(ledger, keys)
    escrow = {name[2:]: atoms for name, atoms in rebuilt.items() if name.startswith("H:") and atoms}

    assert {hold.order_id: hold.remaining_atoms for hold in await ledger.open_holds()} == escrow
    for name, atoms in rebuilt.items():
        if not name.startswith("H:"):
            assert await ledger.account_atoms(name) == atoms
    for user in USERS:
        of_user = [hold.amount_atoms for hold in await ledger.open_holds() if hold.user == user]
        assert (await ledger.balance(user)).held_atoms == sum(of_user)


async def test_inv_14_the_order_of_an_account_is_strict(ledger: Ledger) -> None:
    keys = await trade(ledger, many(ledger, 200))
    entries = await journal(ledger, keys)
    assert len({entry.sequence for entry in entries}) == len(entries)

    for user in USERS:
        lines = await ledger.user_statement(user, limit=1_000)
        assert len({line.cursor for line in lines}) == len(lines)
        told = [(entry.key, leg.amount_atoms) for entry in entries for leg in entry.legs if leg.account == f"U:{user}"]
        assert [(line.key, line.amount_atoms) for line in reversed(lines)] == told


async def test_inv_15_a_duplicate_of_a_refused_one_is_not_told_that_it_applied(ledger: Ledger) -> None:
    results = await outcomes([ledger.post(opening(hold_of())) for _ in range(32)])

    assert results == [InsufficientCredits] * 32
    assert await ledger.find_entry("hold:order-1") is None


async def test_inv_16_a_refused_key_works_once_it_can(ledger: Ledger) -> None:
    """A draft of the kit: no claim outlives the transaction that made it."""
    with pytest.raises(InsufficientCredits):
        await ledger.post(opening(hold_of()))
    await ledger.post(granting(100))

    assert (await ledger.post(opening(hold_of()))).applied
