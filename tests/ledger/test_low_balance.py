"""One alert a crossing, on every backend, over restarts and with two servers; none lost, none twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gollem.ledger import Ledger, records, rules
from gollem.ledger.low_balance import LowBalanceWatch
from tests.contracts.backends import BACKENDS
from tests.contracts.samples import NOW_MS, granting, hold_of, opening
from tests.fakes.clock import FakeClock

THRESHOLD = 1_000


@pytest.fixture(params=list(BACKENDS))
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    if request.param == "dynamodb":
        request.getfixturevalue("dynamodb_endpoint")
    opened = await BACKENDS[request.param](tmp_path)
    yield opened
    await opened.close()


class Account:
    """alice's, moved up and down."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._moves = 0

    async def has(self, atoms: int) -> None:
        self._moves += 1
        change = atoms - (await self._ledger.balance("alice")).available_atoms
        if change > 0:
            await self._ledger.post(granting(change, grant_id=f"g{self._moves}"))
        else:
            hold = hold_of(f"order-{self._moves}", -change)
            await self._ledger.post(opening(hold))
            await self._ledger.post(rules.settle(hold, -change, 0, NOW_MS))


async def alerts(ledger: Ledger) -> list[str]:
    found = await ledger.records(records.ALERT, "OPEN")
    return [alert.text("message") for alert in sorted(found, key=lambda one: one.id)]


async def test_one_alert_a_crossing_however_it_oscillates(ledger: Ledger) -> None:
    account, watch = Account(ledger), LowBalanceWatch(ledger, FakeClock(NOW_MS))
    await account.has(2_000)
    await watch.watch("U:alice", THRESHOLD)
    # (balance, alerts so far): armed again above 1,100 only
    course = [(1_000, 0), (999, 1), (1_050, 1), (900, 1), (1_100, 1), (999, 1), (1_101, 1), (1_000, 1), (999, 2)]
    for atoms, raised in course:
        await account.has(atoms)
        watch.note("U:alice")
        await watch.look()
        assert (atoms, len(await alerts(ledger))) == (atoms, raised)

    assert await alerts(ledger) == ["0.00000999 credits, fewer than 0.00001000"] * 2


async def test_crossing_before_a_restart_is_told_once_after_it(ledger: Ledger) -> None:
    account, clock = Account(ledger), FakeClock(NOW_MS)
    await account.has(2_000)
    before = LowBalanceWatch(ledger, clock)
    await before.watch("U:alice", THRESHOLD)
    await account.has(10)
    before.note("U:alice")  # and it is gone before it looked

    told = [await LowBalanceWatch(ledger, clock).sweep() for _ in range(3)]

    assert told == [1, 0, 0]
    assert len(await alerts(ledger)) == 1


async def test_servers_that_look_at_once_tell_it_once(ledger: Ledger) -> None:
    account, clock = Account(ledger), FakeClock(NOW_MS)
    await account.has(2_000)
    servers = [LowBalanceWatch(ledger, clock) for _ in range(4)]
    await servers[0].watch("U:alice", THRESHOLD)
    for crossing in (1, 2):
        await account.has(10)
        told = await asyncio.gather(*(server.sweep() for server in servers))
        assert sum(told) == 1
        assert len(await alerts(ledger)) == crossing
        await account.has(5_000)
        await asyncio.gather(*(server.sweep() for server in servers))


async def test_accounts_without_a_rule_are_not_kept(tmp_path: Path) -> None:
    """A note costs a look-up, and what waits is bounded."""
    ledger = await BACKENDS["model"](tmp_path)
    watch = LowBalanceWatch(ledger, FakeClock(NOW_MS), max_noted=1)
    for user in ("alice", "bob"):
        await ledger.post(granting(2, user, f"g-{user}"))
        await watch.watch(f"U:{user}", 1_000)
    for user in ("carol", "alice", "alice", "bob"):
        watch.note(f"U:{user}")

    assert (await watch.look(), await watch.sweep()) == (1, 1)
