"""Machines whose clocks differ number their entries by the table's time: none comes into a past that is sealed."""

from collections.abc import AsyncIterator

import pytest

from gollem.ledger import Check, Reconciler
from gollem.ledger.dynamodb import items, pace
from gollem.ledger.dynamodb.ledger import DynamoDBLedger, open_dynamodb
from gollem.ledger.reconcile import Result
from tests.contracts.samples import DAY_MS, NOW_MS, granting, hold_of, opening
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb_faults import Faults, cancelled

HOUR_MS = 3_600_000
SEALS = frozenset({Check.SEALS})


class Machine:
    """One of several, with a clock of its own."""

    def __init__(self, ledger: DynamoDBLedger, clock: FakeClock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.watch = Reconciler(ledger, clock)

    async def look(self) -> list[Result]:
        return await self.watch.look(SEALS)


@pytest.fixture
async def right(dynamodb_table: str) -> AsyncIterator[Machine]:
    machine = await start(dynamodb_table, NOW_MS + DAY_MS)
    yield machine
    await machine.ledger.close()


@pytest.fixture
async def behind(dynamodb_table: str) -> AsyncIterator[Machine]:
    """By an hour."""
    machine = await start(dynamodb_table, NOW_MS + DAY_MS - HOUR_MS)
    yield machine
    await machine.ledger.close()


async def start(url: str, at_ms: int) -> Machine:
    clock = FakeClock(at_ms)
    return Machine(await open_dynamodb(url, clock=clock), clock)


async def test_entry_of_a_machine_that_is_behind_comes_after_the_seal(right: Machine, behind: Machine) -> None:
    await behind.ledger.post(granting(1_000))
    made = await right.watch.seal()
    behind.clock.advance_ms(int(1_000 * pace.NOTICE_S) + 45_000)  # what the seal waits for, were it not for the test
    late = await behind.ledger.post(opening(hold_of()))

    assert made
    assert late.entry.sequence > made.number("until")
    assert [result.findings for result in await right.look()] == [[]]


async def test_machine_that_is_ahead_seals_for_all(right: Machine, behind: Machine) -> None:
    """Nobody knows which clock is right: the order of the entries is, and that nothing comes into what is sealed."""
    await right.ledger.post(granting(1_000))
    assert await right.watch.seal()
    behind.clock.advance_ms(45_000)
    for number in range(3):
        await behind.ledger.post(opening(hold_of(f"order-{number}", 10)))
    behind.clock.advance_ms(DAY_MS)
    assert await behind.watch.seal()

    assert [result.findings for result in await behind.look()] == [[]]
    assert [result.findings for result in await right.look()] == [[]]


async def test_each_request_of_a_post_has_a_number_of_its_own(right: Machine) -> None:
    """One that was refused for minutes, until its reason went, is not written under the number it began with."""
    await right.ledger.post(granting(1_000))
    faults = Faults(right.ledger.client)

    async def minutes_pass() -> None:
        right.clock.advance_ms(14_000)

    faults.answer(cancelled("", "", "ConditionalCheckFailed", ""))
    faults.answer(minutes_pass, operation="TransactGetItems")
    posted = await right.ledger.post(opening(hold_of()))

    assert items.moment_ms(posted.entry.sequence) == right.clock.now_ms()


async def test_time_never_runs_back(right: Machine, behind: Machine) -> None:
    first = await right.ledger.post(granting(1_000))
    second = await behind.ledger.post(opening(hold_of()))
    third = await right.ledger.post(opening(hold_of("order-2")))

    assert first.entry.sequence <= second.entry.sequence
    assert first.entry.sequence < third.entry.sequence
    assert await pace.latest_ms(right.ledger.client) == right.clock.now_ms()
