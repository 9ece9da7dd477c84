"""Faults of the core ledger that only a file and its writer have (docs/faults.md has the list)."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gollem.errors import InvariantBroken, LedgerUnavailable
from gollem.ledger import open_ledger, rules
from gollem.ledger.checks import check
from gollem.ledger.sqlite import MAX_GROUP, SqliteLedger, open_sqlite
from gollem.ledger.types import Leg
from tests.contracts.samples import NOW_MS, granting, hold_of, opening, outcomes
from tests.ledger.recording_disk import Recorder, Sync


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    opened = open_sqlite(path)
    yield opened
    await opened.close()


def flip_last_bit(path: Path, text: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(text) + len(text) - 1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("text", [b"measured-by-the-agent", b"hold:order-1", b"of-the-bid"])
async def test_fault_14_flipped_bit_is_found_and_named(path: Path, ledger: SqliteLedger, text: bytes) -> None:
    """In the bytes of the file, below everything that SQLite checks of its own."""
    hold = hold_of()
    await ledger.post(granting(100))
    await ledger.post(opening(hold))
    await ledger.post(rules.settle(hold, 60, 3, NOW_MS, "measured-by-the-agent"))
    await ledger.close()
    flip_last_bit(path, text)
    reader = await open_ledger(f"sqlite://{path}", read_only=True)
    findings = (await reader.audit()).findings
    await reader.close()

    assert any("its seal does not match" in finding for finding in findings)


class HeldBack:
    """Stands before the thread that commits, which may be about to wait for its next group."""

    def __init__(self, commits: Any) -> None:
        self._commits = commits
        self.groups: list[object] = []
        self.came = asyncio.Event()

    def put(self, group: object) -> None:
        self.groups.append(group)
        self.came.set()

    def get(self) -> object:
        return self._commits.get()


async def test_fault_29_nothing_is_answered_or_seen_before_its_commit(path: Path, ledger: SqliteLedger) -> None:
    """A crash before COMMIT leaves none of the group, and none was told otherwise."""
    await ledger.post(granting(1_000))
    writer: Any = ledger._writer
    commits, writer._groups = writer._groups, (held_back := HeldBack(writer._groups))
    posts = [asyncio.create_task(ledger.post(opening(hold_of(f"order-{number}", 10)))) for number in range(20)]
    await held_back.came.wait()
    reader = await open_ledger(f"sqlite://{path}", read_only=True)

    assert not any(post.done() for post in posts)
    assert await reader.open_holds() == []
    writer._groups = commits
    for group in held_back.groups:
        commits.put(group)
    assert await outcomes(posts) == [True] * 20
    assert len(await reader.open_holds()) == 20
    await reader.close()


async def test_fault_29_group_that_failed_on_its_way_leaves_nothing_behind(ledger: SqliteLedger) -> None:
    """An error that is nobody's own, after others of the group were written: all are told, none is there."""
    await ledger.post(granting(1_000))
    writer: Any = ledger._writer

    def refuse_holds(action: int, table: str | None, *_: object) -> int:
        is_hold = action == sqlite3.SQLITE_INSERT and table == "hold"
        return sqlite3.SQLITE_DENY if is_hold else sqlite3.SQLITE_OK

    writer._connection.set_authorizer(refuse_holds)
    posts = [granting(1, grant_id="grant-2"), opening(hold_of()), granting(1, grant_id="grant-3")]
    assert await outcomes([ledger.post(post) for post in posts]) == [LedgerUnavailable] * 3
    assert await ledger.find_entry("grant:grant-2") is None

    writer._connection.set_authorizer(None)
    assert await outcomes([ledger.post(post) for post in posts]) == [True] * 3
    assert (await ledger.audit()).findings == []


async def test_fault_32_more_than_a_group_is_split(tmp_path: Path) -> None:
    with Recorder(tmp_path).installed() as recorder:
        ledger = open_sqlite(tmp_path / "split.db")
        recorder.events.clear()
        posts = [ledger.post(granting(1, grant_id=f"grant-{number}")) for number in range(2 * MAX_GROUP + 1)]
        assert await outcomes(posts) == [True] * (2 * MAX_GROUP + 1)
        assert recorder.events.count(Sync("split.db-wal")) == 3
        await ledger.close()


@pytest.mark.parametrize(
    ("legs", "why"),
    [
        ((Leg("X:promo", -(2**62)), Leg("U:alice", 2**62)), "within 62 bits"),
        (tuple(Leg(f"U:user-{number}", 1) for number in range(65)), "not to 0"),
        ((Leg("X:promo", -64), *(Leg(f"U:user-{number}", 1) for number in range(64))), "2 to 64 legs"),
    ],
)
def test_fault_32_limits_are_checked_before_any_store(legs: tuple[Leg, ...], why: str) -> None:
    transaction = granting(5)
    with pytest.raises(InvariantBroken, match=why):
        check(type(transaction)(transaction.key, transaction.kind, legs, "", NOW_MS))


@pytest.mark.parametrize(("usage_atoms", "fee_atoms"), [(101, 0), (50, 51), (-1, -1)])
def test_fault_9_no_settlement_is_built_beyond_its_hold(usage_atoms: int, fee_atoms: int) -> None:
    with pytest.raises(InvariantBroken, match="must be 0 <= fee"):
        rules.settle(hold_of(), usage_atoms, fee_atoms, NOW_MS)
