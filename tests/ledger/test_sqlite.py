"""What only the files and the writer of a SQLite ledger can be asked. It keeps the contract: tests/contracts."""

import asyncio
import logging
import os
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gollem.errors import GollemError, InsufficientCredits, InvariantBroken, LedgerUnavailable
from gollem.ledger import Balance, Ledger, open_ledger, rules, sqlite_reads, sqlite_statements, sqlite_writer
from gollem.ledger.sqlite import open_sqlite
from gollem.ledger.types import EVERYTHING
from tests.contracts.samples import NOW_MS, granting, hold_of, opening, outcomes
from tests.until import WITHIN_S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[Ledger]:
    opened = open_sqlite(path, line_batch=2)
    yield opened
    await opened.close()


def write_raw(path: Path, *statements: str) -> None:
    """As somebody with another program would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


async def test_nothing_frightens_whoever_opens_a_sound_ledger(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await (await open_ledger(f"sqlite://{path}")).close()
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    assert len(caplog.records) <= 1
    assert all(str(path) in record.message for record in caplog.records)


# --- the files --------------------------------------------------------------------------------------------------------


async def test_reopened_ledger_has_everything(path: Path, ledger: Ledger) -> None:
    await ledger.post(granting(100))
    await ledger.post(opening(hold_of()))
    await ledger.close()
    again = await open_ledger(f"sqlite://{path}")

    assert await again.balance("alice") == Balance(0, 100, True)
    assert not (await again.post(opening(hold_of()))).applied
    assert (await again.post(rules.void(hold_of(), NOW_MS))).entry.sequence == 3
    await again.close()


async def test_files_are_the_owners_alone(path: Path, ledger: Ledger) -> None:
    await ledger.post(granting(100))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert set(modes) == {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"}
    assert set(modes.values()) == {0o600}


async def test_second_writer_is_refused_and_told_what_to_do(path: Path, ledger: Ledger) -> None:
    with pytest.raises(LedgerUnavailable, match=rf"in process {os.getpid()}: stop that one first"):
        await open_ledger(f"sqlite://{path}")
    await ledger.close()
    await (await open_ledger(f"sqlite://{path}")).close()


async def test_second_process_is_refused(path: Path, ledger: Ledger) -> None:
    code = f"import asyncio; from gollem.ledger import open_ledger; asyncio.run(open_ledger('sqlite://{path}'))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()

    assert process.returncode == 1
    assert b"is open for writing in process" in errors


async def test_reader_beside_the_writer_sees_and_writes_nothing(path: Path, ledger: Ledger) -> None:
    reader = await open_ledger(f"sqlite://{path}", read_only=True)
    await ledger.post(granting(100))

    assert (await reader.balance("alice")).available_atoms == 100
    assert (await reader.audit()).ok
    with pytest.raises(LedgerUnavailable):
        await reader.post(granting(1, grant_id="grant-2"))
    await reader.close()


async def test_reader_makes_no_file(path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        await open_ledger(f"sqlite://{path}", read_only=True)
    assert os.listdir(path.parent.parent) == []


@pytest.mark.parametrize("url", ["", "sqlite:", "sqlite://", "sqlite:///", "sqlite://relative.db", "postgres://x"])
async def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(LedgerUnavailable, match="such as sqlite:///var"):
        await open_ledger(url)


async def test_folder_that_is_not_there_and_file_that_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(LedgerUnavailable, match="cannot be opened"):
        await open_ledger(f"sqlite://{tmp_path}/file")
    write_raw(tmp_path / "other.db", "CREATE TABLE anything (x)")
    with pytest.raises(LedgerUnavailable, match="is no ledger"):
        await open_ledger(f"sqlite://{tmp_path}/other.db")


async def test_books_that_do_not_balance_are_not_opened(path: Path, ledger: Ledger) -> None:
    await ledger.post(granting(100))
    await ledger.close()
    write_raw(path, "UPDATE account SET balance_atoms = 101 WHERE account = 'U:alice'")
    with pytest.raises(InvariantBroken, match=r"sum to 0\.00000001, not to 0"):
        await open_ledger(f"sqlite://{path}")
    # Refused, yet readable: the audit has to say where.
    reader = await open_ledger(f"sqlite://{path}", read_only=True)
    assert len((await reader.audit()).findings) == 2
    await reader.close()


async def test_damaged_file_is_not_opened(path: Path, ledger: Ledger) -> None:
    """In a page of the journal that neither the trial balance nor the writer's start would read."""
    for number in range(300):
        await ledger.post(granting(1, "alice", f"grant-number-{number:03}"))
    await ledger.close()
    with path.open("r+b") as file:
        page = file.read().index(b"grant-number-150") // 4096
        file.seek(page * 4096)
        file.write(b"\xff" * 8)
    with pytest.raises(InvariantBroken, match="is damaged, restore a backup"):
        await open_ledger(f"sqlite://{path}")


JOURNAL = [
    "UPDATE statement_line SET number = 1",
    "DELETE FROM statement_line",
    "DELETE FROM lined",
    "UPDATE lined SET below = 64",
    "DELETE FROM record",
    "UPDATE entry SET detail = 'x'",
    "DELETE FROM entry",
    "UPDATE leg SET amount_atoms = amount_atoms + 1",
    "DELETE FROM leg",
    "DELETE FROM hold",
    "UPDATE hold SET state = 'OPEN', remaining_atoms = amount_atoms",
]
CHECKED = [
    "INSERT INTO account (account, balance_atoms) VALUES ('P:acme', -1)",
    "INSERT INTO account (account, balance_atoms) VALUES ('RF:r', -1)",
    "INSERT INTO account (account, balance_atoms) VALUES ('R:fee:1', -1)",
    "INSERT INTO account (account, balance_atoms) VALUES ('D:alice', 1)",
    "INSERT INTO account (account, balance_atoms) VALUES ('DP:acme', 1)",
    "INSERT INTO record SELECT * FROM record",
    "INSERT INTO hold VALUES (99, 'x', 'u', 'p', 5, 4, 0, 0, 0, 'OPEN', '', 0, 0)",
    "UPDATE account SET balance_atoms = -1 WHERE account = 'U:alice'",
    "UPDATE account SET held_atoms = -1 WHERE account = 'U:alice'",
    "UPDATE account SET balance_atoms = 4611686018427387904 WHERE account = 'U:alice'",
    "UPDATE account SET balance_atoms = 'x' WHERE account = 'U:alice'",
    "INSERT INTO leg VALUES (999999, 'U:alice', 0, NULL)",
    "INSERT INTO entry SELECT sequence + 99, key, kind, fingerprint, at_ms, order_id, detail, seal FROM entry",
    "INSERT INTO hold VALUES (99, 'x', 'u', 'p', 5, 0, 0, 0, 0, 'OPEN', '', 0, 0)",
    "INSERT INTO hold VALUES (99, 'x', 'u', 'p', 5, 5, 0, 0, 0, 'VOIDED', '', 0, 0)",
    "INSERT INTO hold VALUES (99, 'x', 'u', 'p', 0, 0, 0, 0, 0, 'VOIDED', '', 0, 0)",
]


@pytest.mark.parametrize("statement", JOURNAL + CHECKED)
async def test_file_itself_refuses_what_may_never_be(path: Path, ledger: Ledger, statement: str) -> None:
    """Fault 14, and the constraints behind the guards."""
    await ledger.post(granting(100))
    await ledger.post(opening(hold_of()))
    await ledger.post(rules.settle(hold_of(), 1, 0, NOW_MS))
    await ledger.post(rules.purchase_created("p", "alice", 100, NOW_MS))
    with pytest.raises(sqlite3.IntegrityError):
        write_raw(path, statement)


async def test_lists_are_served_by_indexes(path: Path, ledger: Ledger) -> None:
    queries = {
        sqlite_statements._sql(sqlite_statements._NEW).replace(
            "?", "9"
        ): "SEARCH leg USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        sqlite_statements._sql(sqlite_statements._LINED).replace(
            "?", "9"
        ): "SEARCH line USING PRIMARY KEY (statement=? AND number<?)",
        "SELECT 1 FROM hold WHERE state = 'OPEN' AND order_id > 'a' ORDER BY order_id LIMIT 1": "open_hold_by_order",
        "SELECT 1 FROM hold WHERE state = 'OPEN' AND expires_at_ms <= 9 ORDER BY expires_at_ms, order_id LIMIT 1": (
            "open_hold_by_deadline"
        ),
        sqlite_reads._LISTED.replace("?", "9"): "record_by_state",
        sqlite_reads._DUE.replace("?", "9"): "earnings_by_day",
    }
    with closing(sqlite3.connect(path)) as connection:
        for query, index in queries.items():
            plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
            assert index in plan
            assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("when", [1, 2, 3])
async def test_lines_written_meanwhile_are_neither_missed_nor_shown_twice(path: Path, when: int) -> None:
    """The lines come between any two queries of one reading."""
    ledger = open_sqlite(path)
    for number in range(6):
        await ledger.post(granting(number + 1, grant_id=f"grant-{number}"))
    before = await ledger.user_statement("alice")
    await ledger.close()

    class Meanwhile:
        def __init__(self, cursor: sqlite3.Cursor) -> None:
            self._cursor, self._queries = cursor, 0

        def execute(self, query: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
            self._queries += 1
            if self._queries == when:
                with closing(sqlite3.connect(path, isolation_level=None)) as writer:
                    sqlite_statements.write_lines(writer.cursor(), 6, batch=1)
                    assert writer.execute("SELECT count(*) FROM statement_line").fetchone() == (6,)
            return self._cursor.execute(query, values)

    with closing(sqlite3.connect(path)) as reader:
        cursor: Any = Meanwhile(reader.cursor())
        assert sqlite_reads.statement(cursor, "U:alice", "", 50, EVERYTHING) == before
    assert [line.amount_atoms for line in before] == [6, 5, 4, 3, 2, 1]


# --- the writer -------------------------------------------------------------------------------------------------------


async def test_durability_settings(ledger: Ledger) -> None:
    connection = ledger._writer._connection  # type: ignore[attr-defined]
    settings = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}

    assert settings == {"journal_mode": "wal", "synchronous": 2}


async def test_full_queue_refuses_at_once_and_recovers(path: Path) -> None:
    ledger = open_sqlite(path, max_waiting=10)
    results = await outcomes([ledger.post(granting(1, grant_id=f"grant-{n}")) for n in range(25)])

    assert results == [True] * 10 + [LedgerUnavailable] * 15
    assert (await ledger.post(granting(1, grant_id="grant-24"))).applied
    assert (await ledger.balance("alice")).available_atoms == 11
    await ledger.close()


async def test_cancelled_caller_leaves_the_others_answered(ledger: Ledger) -> None:
    tasks = [asyncio.create_task(ledger.post(granting(1, grant_id=f"grant-{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(results[3], asyncio.CancelledError)
    assert sum(not isinstance(result, BaseException) for result in results) == 19
    # It was on its way already: whoever asks again learns so.
    assert not (await ledger.post(granting(1, grant_id="grant-3"))).applied


async def test_close_finishes_what_waits_and_takes_nothing_more(path: Path) -> None:
    ledger = open_sqlite(path, max_group=4)
    posts = [asyncio.create_task(ledger.post(granting(1, grant_id=f"grant-{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    await asyncio.gather(ledger.close(), ledger.close())

    assert await outcomes(posts) == [True] * 50
    assert not path.with_name("ledger.db-wal").exists()
    for call in (ledger.post(granting(1)), ledger.balance("alice"), ledger.open_holds(), ledger.audit()):
        with pytest.raises(LedgerUnavailable):
            await call


async def test_foreign_lock_is_unavailable_at_once_and_heals(path: Path, ledger: Ledger) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await outcomes([ledger.post(granting(100)), ledger.post(granting(100))]) == [LedgerUnavailable] * 2
        other.rollback()
    assert (await ledger.post(granting(100))).entry.sequence == 1


async def test_failing_statement_takes_its_group_and_says_that_nothing_was_written(path: Path, ledger: Ledger) -> None:
    """Fault 27, the certain half: the disk is full before COMMIT was tried."""
    connection = ledger._writer._connection  # type: ignore[attr-defined]
    await ledger.post(granting(100))
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    long = [rules.grant(f"long-{n}", "alice", 1, NOW_MS, "x" * 9_000) for n in range(10)]
    assert await outcomes([ledger.post(transaction) for transaction in long]) == [LedgerUnavailable] * 10

    assert await ledger.balance("alice") == Balance(100, 0, True)
    connection.execute("PRAGMA max_page_count = 1000000")
    assert await outcomes([ledger.post(transaction) for transaction in long]) == [True] * 10
    assert (await ledger.audit()).ok


async def test_bug_in_the_writer_takes_its_group_and_no_other(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised, all of the group are answered, and the next one goes on."""

    def bug(*_: object) -> GollemError:
        raise ZeroDivisionError

    posts = [granting(100), opening(hold_of("order-1", 1_000)), granting(100, "bob", "grant-2")]
    with monkeypatch.context() as broken:
        broken.setattr(sqlite_writer, "refusal", bug)
        async with asyncio.timeout(WITHIN_S):
            assert await outcomes([ledger.post(one) for one in posts]) == [LedgerUnavailable] * 3

    assert await ledger.balance("alice") == Balance(0, 0, True)
    async with asyncio.timeout(WITHIN_S):
        assert await outcomes([ledger.post(one) for one in posts]) == [True, InsufficientCredits, True]
    assert (await ledger.audit()).ok


async def test_bug_in_one_operation_is_its_own(ledger: Ledger) -> None:
    """A constraint that the code above it should have kept: this one is refused, the rest of its group goes on."""
    await ledger.post(granting(100))
    await ledger.post(opening(hold_of()))
    third_leg_of_the_third_entry = 3 * 64 + 2
    connection = ledger._writer._connection  # type: ignore[attr-defined]
    connection.execute(f"INSERT INTO leg VALUES ({third_leg_of_the_third_entry}, 'U:bob', 1, NULL)")
    posts = [rules.settle(hold_of(), 60, 3, NOW_MS), granting(1, grant_id="grant-2")]

    assert await outcomes([ledger.post(transaction) for transaction in posts]) == [InvariantBroken, True]
    assert await ledger.balance("alice") == Balance(1, 100, True)
    assert (await ledger.provider_balance("acme")).earned_atoms == 0
