"""Faults of the core ledger that want many operations at once, on every backend (docs/faults.md has the list)."""

import asyncio
import os
import random

from gollem.errors import HoldClosed
from gollem.ledger import Balance, Kind, Ledger, rules
from tests.contracts.samples import NOW_MS, granting, hold_of, many, opening, outcomes

HOUR_MS = 3_600_000
MICRO_SETTLES = int(os.environ.get("MICRO_SETTLES", "1000"))  # fault 10 asks for 100,000: `make micro-settles`


async def test_fault_8_closed_hold_is_not_paid_from_another(ledger: Ledger) -> None:
    """What the user still holds for a second order would cover it, were the first one's state not looked at."""
    await ledger.post(granting(200))
    for order_id in ("order-1", "order-2"):
        await ledger.post(opening(hold_of(order_id)))
    await ledger.post(rules.settle(hold_of("order-1"), 60, 3, NOW_MS))

    assert await outcomes([ledger.post(rules.void(hold_of("order-1"), NOW_MS))]) == [HoldClosed]
    assert await ledger.balance("alice") == Balance(40, 100, True)


async def test_fault_10_micro_settlements_add_up_to_the_atom(ledger: Ledger) -> None:
    """Fees of odd basis points of one to fifty atoms: share, fee and refund are always the whole."""
    chance = random.Random(10)
    times = many(ledger, MICRO_SETTLES)
    await ledger.post(granting(50 * times))
    charged = fees = 0

    async def some(first: int) -> None:
        nonlocal charged, fees
        for number in range(first, times, 64):
            hold = hold_of(f"order-{number}", chance.randint(1, 50))
            usage = chance.randint(0, hold.amount_atoms)
            fee = usage * chance.randint(0, 10_000) // 10_000
            await ledger.post(opening(hold))
            await ledger.post(rules.settle(hold, usage, fee, NOW_MS))
            charged, fees = charged + usage, fees + fee

    await asyncio.gather(*(some(first) for first in range(64)))
    shards = [await ledger.account_atoms(f"R:fee:{shard}") for shard in range(16)]

    assert (await ledger.balance("alice")).available_atoms == 50 * times - charged
    assert (await ledger.provider_balance("acme")).earned_atoms == charged - fees
    assert sum(shards) == fees


async def test_fault_15_any_clock_leaves_order_and_keys_alone(ledger: Ledger) -> None:
    """An hour back, an hour forward, the same millisecond again: order is the journal's, and nothing expires early."""
    chance = random.Random(15)
    await ledger.post(granting(1_000))
    hold = hold_of(expires_at_ms=NOW_MS + HOUR_MS + 1)
    await ledger.post(opening(hold))
    keys = ["grant:grant-1", "hold:order-1"]
    for number in range(many(ledger, 60)):
        at_ms = NOW_MS + chance.choice((-HOUR_MS, 0, HOUR_MS))
        assert (await ledger.post(rules.grant(f"jump-{number}", "alice", 1, at_ms))).applied
        assert await outcomes([ledger.post(rules.expire(hold, at_ms))]) == [HoldClosed]
        keys.append(f"grant:jump-{number}")

    assert [line.key for line in reversed(await ledger.user_statement("alice", limit=100))] == keys
    assert await ledger.expired_holds(NOW_MS + HOUR_MS) == []
    assert (await ledger.post(rules.expire(hold, NOW_MS + HOUR_MS + 1))).applied


async def test_fault_30_two_sweepers_and_one_that_slept(ledger: Ledger) -> None:
    """Each lists in pages of its own and posts while the other does; an hour late it is still right."""
    times = many(ledger, 100)
    await ledger.post(granting(10_000))
    for number in range(times):
        await ledger.post(opening(hold_of(f"order-{number:03}", expires_at_ms=NOW_MS + number)))
    late_ms = NOW_MS + HOUR_MS

    async def sweep() -> int:
        voided = 0
        while page := await ledger.expired_holds(late_ms, limit=7):
            for hold in page:
                voided += (await ledger.post(rules.expire(hold, late_ms))).applied
        return voided

    assert sum(await asyncio.gather(sweep(), sweep())) == times
    assert await ledger.open_holds() == []
    assert (await ledger.balance("alice")).available_atoms == 10_000


async def test_fault_31_expiry_and_settlement_at_the_same_moment(ledger: Ledger) -> None:
    """One of them, never both, never none."""
    chance = random.Random(31)
    times = many(ledger, 200)
    await ledger.post(granting(20_000))
    holds = [hold_of(f"order-{number}") for number in range(times)]
    await asyncio.gather(*(ledger.post(opening(hold)) for hold in holds))
    late_ms = NOW_MS + HOUR_MS

    async def race(number: int) -> Kind:
        hold = holds[number]
        both = [rules.settle(hold, 60, 3, late_ms), rules.expire(hold, late_ms)]
        chance.shuffle(both)
        results = await outcomes([ledger.post(one) for one in both])
        assert sorted(results, key=str) == [HoldClosed, True]
        return both[results.index(True)].kind

    won = await asyncio.gather(*(race(number) for number in range(times)))
    settled = won.count(Kind.SETTLE)

    assert 0 < settled < times
    assert (await ledger.balance("alice")).available_atoms == 20_000 - 60 * settled
    assert (await ledger.provider_balance("acme")).earned_atoms == 57 * settled
