"""Reconciliation: each check says what it finds and no other, writes its result, raises one alert, halts payouts."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gollem.errors import LedgerUnavailable, WrongState
from gollem.ledger import Check, Ledger, Reconciler, open_ledger, records, rules
from gollem.ledger.types import AuditReport
from tests.contracts.backends import BACKENDS
from tests.contracts.samples import DAY_MS, NOW_MS, hold_of, opening
from tests.fakes.clock import FakeClock
from tests.ledger.test_audit import CREDIT, DEFECTS, DROP_TRIGGERS, books
from tests.until import WITHIN_S

R1, R2, R3, R4, R9 = (Check(name) for name in ("R1", "R2", "R3", "R4", "R9"))
# name -> (statement, the checks that fire)
WRITTEN_OVER = {name: statement for name, (statement, _) in DEFECTS.items()} | {
    "doubled entry": (
        "INSERT INTO entry SELECT 9, 'hold:order-9', kind, fingerprint, at_ms, order_id, detail, seal FROM entry "
        "WHERE sequence = 2; INSERT INTO leg SELECT number + 448, account, amount_atoms, statement FROM leg "
        "WHERE number / 64 = 2"
    ),
    "wrong shard": "UPDATE leg SET account = 'R:fee:3' WHERE account GLOB 'R:fee:*'",
}
FIRES = {
    "terms of an open hold": {R4},
    "missing leg": {R1, R3, R9},
    "doubled leg": {R1, R3, R9},
    "missing entry": {R1, R9},
    "missing transaction": {R1, R3, R9},
    "stale balance": {R2, R3},
    "one atom, hidden from the trial balance": {R3},
    "one atom in a leg": {R1, R3, R9},
    "held is not the open holds": {R4},
    "hold shrunk": {R2, R3, R4},
    "hold gone": {R2, R3, R4},
    "wrong fingerprint": {R1, R9},
    "flipped byte of the detail": {R1, R9},
    "changed kind": {R1, R9},
    "doubled entry": {R1, R3, R9},
    "wrong shard": {R1, R3, R9},
}


def reconciler(ledger: Ledger, clock: FakeClock | None = None, copy: Path | None = None) -> Reconciler:
    return Reconciler(ledger, clock or FakeClock(NOW_MS), seal_copy=copy)


def write_over(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for trigger in DROP_TRIGGERS:
            connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        changed = connection.total_changes
        connection.executescript(statement)
        assert connection.total_changes > changed


@pytest.mark.parametrize("name", FIRES)
async def test_defect_is_named_by_the_checks_that_look_for_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "ledger.db"
    await books(path)
    ledger = await open_ledger(f"sqlite://{path}")
    await reconciler(ledger).seal()
    await ledger.close()
    sealed = 5  # the last entry in the seal: one more is inserted by the defect
    if name == "doubled entry":
        write_over(path, f"UPDATE entry SET sequence = 10 WHERE sequence > {sealed}")
    write_over(path, WRITTEN_OVER[name])

    reader = await open_ledger(f"sqlite://{path}", read_only=True)
    results = await reconciler(reader).look()
    await reader.close()

    fired = {result.check for result in results if not result.ok}
    assert FIRES[name] - {R9} == fired - {R9}
    if name != "doubled entry":  # it lies after the seal
        assert fired == FIRES[name]


@pytest.fixture(params=list(BACKENDS))
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    if request.param == "dynamodb":
        request.getfixturevalue("dynamodb_endpoint")
    opened = await BACKENDS[request.param](tmp_path)
    await opened.post(rules.grant("g", "alice", 10 * CREDIT, NOW_MS))
    await opened.post(opening(hold_of("order-1", CREDIT)))
    yield opened
    await opened.close()


async def test_sound_books_write_their_results_and_nothing_else(ledger: Ledger) -> None:
    results = await reconciler(ledger).run()

    assert [(result.check, result.ok) for result in results] == [(check, True) for check in (R1, R2, R3, R4, R9)]
    written = await ledger.find_record(records.RECONCILIATION, "20270115:R3")
    assert written
    assert (written.state, written.number("findings")) == ("OK", 0)
    assert await ledger.records(records.ALERT, "OPEN") == []
    assert await ledger.find_record(records.BREAKER, records.PAYOUTS) is None


async def test_overdue_hold_alerts_once_a_break_and_halts_payouts(ledger: Ledger) -> None:
    """A sweep that does not run is a break too: spending goes on, payouts do not."""
    clock = FakeClock(NOW_MS)
    watch = reconciler(ledger, clock)
    await ledger.post(rules.provider_registered("acme", "acct_1", True, NOW_MS))
    clock.advance_ms(60_000 + 60_000)
    for _ in range(3):
        results = await watch.run_quick()
        clock.advance_ms(1_000)

    assert [result.ok for result in results] == [True, False]
    assert results[1].findings == ["H:order-1: open 62000 ms past its deadline"]
    alerts = await ledger.records(records.ALERT, "OPEN")
    assert [alert.text("subject") for alert in alerts] == ["reconciliation R4"]
    provider = await ledger.find_record(records.PROVIDER, "acme")
    assert provider
    with pytest.raises(WrongState):
        await ledger.post(rules.payout_initiated("po-1", provider, 10**9, NOW_MS))
    assert (await ledger.post(opening(hold_of("order-2", 1, expires_at_ms=NOW_MS + DAY_MS)))).applied

    breaker = await ledger.find_record(records.BREAKER, records.PAYOUTS)
    assert breaker
    assert breaker.state == "HALTED"
    await ledger.post(rules.payouts_resumed(breaker, "carol", NOW_MS))
    resumed = await ledger.find_record(records.BREAKER, records.PAYOUTS)
    assert resumed
    assert resumed.state == "RUNNING"
    # The hold's break is over when it is swept; the next break is another alert.
    await ledger.post(rules.expire(hold_of("order-1", CREDIT), clock.now_ms()))
    assert all(result.ok for result in await watch.run_quick())


async def test_seals_are_chained_day_by_day_and_copied(ledger: Ledger, tmp_path: Path) -> None:
    clock = FakeClock(NOW_MS + DAY_MS)
    copy = tmp_path / "seals"
    watch = reconciler(ledger, clock, copy)
    first = await watch.seal()
    again = await watch.seal()
    clock.advance_ms(DAY_MS)
    second = await watch.seal()

    assert first
    assert second
    assert again is None
    assert second.number("after") == first.number("until")
    assert (first.id, second.id) == ("20270115", "20270116")
    assert (await watch.look(frozenset({R9})))[0].findings == []
    copy.write_text(copy.read_text().replace(first.text("chain"), "0" * 64))
    findings = (await watch.look(frozenset({R9})))[0].findings
    assert findings == [f"seal {first.id}: is not what its copy says"]
    assert copy.stat().st_mode & 0o777 == 0o600


async def test_entry_removed_with_all_it_did_is_found_by_its_seal(tmp_path: Path) -> None:
    """Nothing else can tell: what is left balances."""
    path = tmp_path / "ledger.db"
    opened = await open_ledger(f"sqlite://{path}")
    await opened.post(rules.grant("g", "alice", 10 * CREDIT, NOW_MS))
    await opened.post(rules.grant("h", "alice", CREDIT, NOW_MS))
    await reconciler(opened).seal()
    await opened.close()
    write_over(
        path,
        "DELETE FROM entry WHERE key = 'grant:h'; DELETE FROM leg WHERE number / 64 = 2;"
        f"UPDATE account SET balance_atoms = balance_atoms - {CREDIT} WHERE account = 'U:alice';"
        f"UPDATE account SET balance_atoms = balance_atoms + {CREDIT} WHERE account = 'X:promo'",
    )

    reader = await open_ledger(f"sqlite://{path}", read_only=True)
    results = await reconciler(reader).look()
    await reader.close()
    assert {result.check: result.findings for result in results if not result.ok} == {
        R9: ["seal 20270114: 3 entries were sealed, 2 are there"]
    }


async def test_reconciling_under_full_load_raises_no_false_alarm(ledger: Ledger) -> None:
    stop = asyncio.Event()

    async def trade(caller: int) -> int:
        number = 0
        while not stop.is_set():
            hold = hold_of(f"order-{caller}-{number}", 10)
            await ledger.post(opening(hold))
            await ledger.post(rules.settle(hold, 7, 1, NOW_MS))
            number += 1
            await asyncio.sleep(0)  # the model itself never waits
        return number

    traders = [asyncio.create_task(trade(caller)) for caller in range(4)]
    watch = reconciler(ledger)
    found: list[str] = []
    read = 0
    async with asyncio.timeout(WITHIN_S):
        while read < 200:
            for results in (await watch.run_deep(), await watch.run_quick()):
                found += [text for result in results for text in result.findings]
                read = max(read, results[0].transactions)
            await asyncio.sleep(0)
    stop.set()
    await asyncio.gather(*traders)

    assert found == []


class Unreadable:
    """A ledger whose audit ends in this, so many times."""

    def __init__(self, ledger: Ledger, error: Exception, times: int) -> None:
        self._ledger = ledger
        self._error = error
        self._times = times

    async def audit(self, checks: frozenset[Check]) -> AuditReport:
        self._times -= 1
        if self._times >= 0:
            raise self._error
        return await self._ledger.audit(checks)

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)


@pytest.mark.parametrize("error", [TypeError("unsupported operand"), LedgerUnavailable("the scan is refused")], ids=str)
async def test_check_that_cannot_be_made_is_a_break(ledger: Ledger, error: Exception) -> None:
    broken = Unreadable(ledger, error, 10)
    results = await Reconciler(broken, FakeClock(NOW_MS)).run()  # type: ignore[arg-type]
    breaker = await ledger.find_record(records.BREAKER, records.PAYOUTS)
    alerts = await ledger.records(records.ALERT, "OPEN")

    assert [(result.check, result.ok) for result in results] == [
        (R1, False),
        (R2, False),
        (R3, False),
        (R4, False),
        (R9, True),
    ]
    assert all("could not be made" in finding for result in results for finding in result.findings)
    assert breaker
    assert breaker.state == "HALTED"
    assert len(alerts) == 4


async def test_store_that_did_not_answer_once_is_no_break(ledger: Ledger) -> None:
    shaky = Unreadable(ledger, LedgerUnavailable("throttled"), 1)
    results = await Reconciler(shaky, FakeClock(NOW_MS)).run()  # type: ignore[arg-type]

    assert all(result.ok for result in results)


async def test_two_servers_write_their_results_at_once(ledger: Ledger) -> None:
    watches = [reconciler(ledger) for _ in range(3)]
    for _ in range(2):
        await asyncio.gather(*(watch.run_quick() for watch in watches))

    written = await ledger.find_record(records.RECONCILIATION, "20270115:R2")
    assert written
    assert written.number("version") == 5
