"""Fault 28: the power fails. Whatever the disk had got to, nothing that was answered is lost and the books balance."""

import asyncio
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gollem.ledger import Ledger, rules
from gollem.ledger.sqlite import SqliteLedger, open_sqlite
from gollem.ledger.types import Transaction
from tests.contracts.samples import NOW_MS, granting, hold_of, opening
from tests.ledger.recording_disk import Answered, Delete, Disk, Event, Recorder, Sync, Truncate, Write, torn

CALLERS, ORDERS = 4, 4
CHECKPOINT_PAGES = 20  # a few checkpoints within the run
WAL = "ledger.db-wal"


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    with Recorder(tmp_path / "live").installed() as recorder:
        yield recorder


async def answer(ledger: Ledger, recorder: Recorder, transaction: Transaction) -> None:
    await ledger.post(transaction)
    recorder.answered(transaction.key)


async def trade(ledger: SqliteLedger, recorder: Recorder) -> None:
    """Groups of several sizes, and checkpoints between."""
    ledger._writer._connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")  # type: ignore[union-attr]
    await answer(ledger, recorder, granting(10_000))

    async def caller(name: int) -> None:
        for number in range(ORDERS):
            hold = hold_of(f"order-{name}-{number}", 10)
            await answer(ledger, recorder, opening(hold))
            if number % 3 != name % 3:
                await answer(ledger, recorder, rules.settle(hold, 7, 1, NOW_MS, "measured " * 40))

    await asyncio.gather(*(caller(name) for name in range(CALLERS)))


async def recorded(folder: Path, recorder: Recorder) -> Sequence[Event]:
    ledger = open_sqlite(folder / "live" / "ledger.db", line_batch=3)
    await trade(ledger, recorder)
    await ledger.close()
    return recorder.events


def put(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)


async def require_sound(folder: Path, files: dict[str, bytes], answered: set[str]) -> None:
    """Opened as the server opens it, checked as the operator checks it."""
    put(folder, files)
    ledger = open_sqlite(folder / "ledger.db", line_batch=3)
    try:
        assert [key for key in sorted(answered) if await ledger.find_entry(key) is None] == []
        assert (await ledger.audit()).findings == []
    finally:
        await ledger.close()


async def test_each_answer_waits_for_a_sync_of_the_log(tmp_path: Path, recorder: Recorder) -> None:
    """What `synchronous = FULL` is for, as the file layer sees it: NORMAL would sync at checkpoints only."""
    ledger = open_sqlite(tmp_path / "live" / "ledger.db", line_batch=3)
    recorder.events.clear()
    for number in range(20):
        await answer(ledger, recorder, granting(1, grant_id=f"grant-{number}"))
    events = list(recorder.events)
    await ledger.close()

    for place in [place for place, event in enumerate(events) if isinstance(event, Answered)]:
        log = [type(event) for event in events[:place] if isinstance(event, Write | Sync) and event.file == WAL]
        assert log[-2:] == [Write, Sync]
    assert sum(event == Sync(WAL) for event in events) == 20


async def test_recording_is_of_the_real_files(tmp_path: Path, recorder: Recorder) -> None:
    """Else the tests below would prove nothing: all that was written, applied, is what the files hold."""
    ledger = open_sqlite(tmp_path / "live" / "ledger.db", line_batch=3)
    await trade(ledger, recorder)
    disk = Disk()
    for event in recorder.events:
        disk.apply(event)
    files = disk.after_loss(disk.pending)

    assert files["ledger.db"] == (tmp_path / "live" / "ledger.db").read_bytes()
    assert files[WAL] == (tmp_path / "live" / WAL).read_bytes()
    await ledger.close()


async def test_power_fails_between_any_two_steps_of_the_disk(tmp_path: Path, recorder: Recorder) -> None:
    """After each step: with only what was synced; with all; with the last write torn; with some, in any order."""
    events = list(await recorded(tmp_path, recorder))
    kinds = {(type(event), event.file) for event in events if not isinstance(event, Answered)}
    assert {(Write, WAL), (Sync, WAL), (Write, "ledger.db"), (Sync, "ledger.db"), (Delete, WAL)} <= kinds
    begun = next(place for place, event in enumerate(events) if isinstance(event, Answered))
    chance = random.Random(28)
    disk, answered, checked = Disk(), set[str](), 0
    for place, event in enumerate(events):
        disk.apply(event)
        if isinstance(event, Answered):
            answered.add(event.key)
        if place < begun:
            continue
        for survivors in losses(disk.pending, chance):
            await require_sound(tmp_path / f"lost-{checked}", disk.after_loss(survivors), answered)
            checked += 1
    assert {f"hold:order-{name}-{ORDERS - 1}" for name in range(CALLERS)} < answered
    assert checked > 400


def losses(pending: Sequence[Write | Truncate], chance: random.Random) -> Iterator[Sequence[Write | Truncate]]:
    if not pending:
        yield []
        return
    yield pending
    yield [*pending[:-1], torn(pending[-1], chance)]
    some = [change for change in pending if chance.random() < 0.5]
    yield some
    yield sorted(some, key=lambda _: chance.random())


@pytest.mark.parametrize(("synchronous", "rows"), [("FULL", 1), ("NORMAL", 0)])
def test_simulation_loses_what_was_not_synced(tmp_path: Path, recorder: Recorder, synchronous: str, rows: int) -> None:
    """It can fail: the same commit is lost over a connection that syncs less."""
    (tmp_path / "live").mkdir()
    connection = sqlite3.connect(tmp_path / "live" / "x.db", isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE t (x)"):
        connection.execute(statement)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("INSERT INTO t VALUES (1)")
    disk = Disk()
    for event in recorder.events:
        disk.apply(event)
    connection.close()
    put(tmp_path / "lost", disk.after_loss())

    with closing(sqlite3.connect(tmp_path / "lost" / "x.db")) as again:
        assert again.execute("SELECT count(*) FROM t").fetchone() == (rows,)
