"""Long streams settle in parts; what is left settles, or goes back, as any hold does."""

import pytest
from msgspec.structs import replace

from gollem.errors import HoldClosed, InvariantBroken
from gollem.ledger import Balance, Hold, HoldState, Ledger, rules
from gollem.ledger.types import ReduceHold
from tests.contracts.samples import NOW_MS, granting, hold_of, legs, opening, outcomes, state


async def opened(ledger: Ledger) -> Hold:
    await ledger.post(granting(100))
    await ledger.post(opening(hold_of()))
    return hold_of()


async def found(ledger: Ledger) -> Hold:
    hold = await ledger.find_hold("order-1")
    assert hold is not None
    return hold


async def test_parts_are_paid_and_the_rest_settles(ledger: Ledger) -> None:
    hold = await opened(ledger)
    first = await ledger.post(rules.partial_settle(hold, 30, 3, NOW_MS, "first"))
    second = await ledger.post(rules.partial_settle(await found(ledger), 20, 1, NOW_MS))

    assert (first.entry.key, second.entry.key) == ("psettle:order-1:1", "psettle:order-1:2")
    assert sorted(legs(first).values()) == [-30, 3, 27]
    assert await ledger.balance("alice") == Balance(0, 50, True)
    rest = await found(ledger)
    assert (rest.remaining_atoms, rest.settled_atoms, rest.sequence) == (50, 50, 2)

    last = await ledger.post(rules.settle(rest, 40, 4, NOW_MS))
    assert sorted(legs(last).values()) == [-50, 4, 10, 36]
    assert await ledger.balance("alice") == Balance(10, 0, True)
    assert (await ledger.provider_balance("acme")).earned_atoms == 27 + 19 + 36
    assert await found(ledger) == replace(rest, state=HoldState.SETTLED)
    assert (await found(ledger)).remaining_atoms == 0


@pytest.mark.parametrize("close", [rules.void, rules.expire])
async def test_only_the_rest_goes_back(ledger: Ledger, close: object) -> None:
    hold = await opened(ledger)
    await ledger.post(rules.partial_settle(hold, 30, 0, NOW_MS))
    await ledger.post(close(await found(ledger), hold.expires_at_ms))  # type: ignore[operator]

    assert await ledger.balance("alice") == Balance(70, 0, True)
    assert (await found(ledger)).settled_atoms == 30


async def test_part_again_is_answered_by_the_first(ledger: Ledger) -> None:
    hold = await opened(ledger)
    first = await ledger.post(rules.partial_settle(hold, 30, 3, NOW_MS))
    again = await ledger.post(rules.partial_settle(hold, 30, 3, NOW_MS + 1))

    assert (again.applied, again.entry) == (False, first.entry)
    assert (await found(ledger)).remaining_atoms == 70


async def test_parts_are_taken_in_their_order(ledger: Ledger) -> None:
    """The third part cannot come before the second, even if the amounts would fit."""
    hold = await opened(ledger)
    await ledger.post(rules.partial_settle(hold, 30, 3, NOW_MS))
    before = await state(ledger)
    early = replace(await found(ledger), sequence=2)
    with pytest.raises(HoldClosed):
        await ledger.post(rules.partial_settle(early, 20, 0, NOW_MS))
    with pytest.raises(HoldClosed):
        await ledger.post(rules.settle(early, 20, 0, NOW_MS))
    assert await state(ledger) == before


@pytest.mark.parametrize("change", [{"fence": 9}, {"settled_atoms": 20}, {"sequence": 0, "settled_atoms": 0}])
async def test_settlement_of_another_rest_is_refused(ledger: Ledger, change: dict[str, int]) -> None:
    hold = await opened(ledger)
    await ledger.post(rules.partial_settle(hold, 30, 3, NOW_MS))
    with pytest.raises(HoldClosed):
        await ledger.post(rules.settle(replace(await found(ledger), **change), 20, 0, NOW_MS))
    assert (await found(ledger)).remaining_atoms == 70


async def test_part_of_a_closed_hold_is_refused(ledger: Ledger) -> None:
    hold = await opened(ledger)
    await ledger.post(rules.void(hold, NOW_MS))
    with pytest.raises(HoldClosed):
        await ledger.post(rules.partial_settle(hold, 30, 3, NOW_MS))


async def test_one_of_eight_parts_and_closings_wins(ledger: Ledger) -> None:
    """Fault 8, with parts: all were built from the same hold."""
    hold = await opened(ledger)
    posts = [rules.partial_settle(hold, 10, 0, NOW_MS), rules.settle(hold, 60, 6, NOW_MS), rules.void(hold, NOW_MS)]
    results = await outcomes([ledger.post(transaction) for transaction in posts * 3])

    assert results.count(True) == 1
    assert set(results) == {True, False, HoldClosed}


@pytest.mark.parametrize(("usage_atoms", "fee_atoms"), [(100, 0), (101, 0), (0, 0), (10, 11), (10, -1)])
async def test_part_is_less_than_the_whole(ledger: Ledger, usage_atoms: int, fee_atoms: int) -> None:
    """Fault 9: nobody is charged above the hold."""
    hold = await opened(ledger)
    with pytest.raises(InvariantBroken):
        await ledger.post(rules.partial_settle(hold, usage_atoms, fee_atoms, NOW_MS))
    whole = rules.settle(hold, 100, 0, NOW_MS)
    with pytest.raises(InvariantBroken):
        await ledger.post(replace(whole, effects=(ReduceHold("order-1", "alice", 100),)))
    assert (await found(ledger)).remaining_atoms == 100
