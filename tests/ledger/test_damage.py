"""Bytes that the disk gave back otherwise than they were written: found, named in a line each, and survived."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gollem.errors import InvariantBroken
from gollem.ledger import Check, Ledger, Reconciler, open_ledger, rules
from gollem.ledger.sqlite_backup import back_up
from tests.contracts.samples import NOW_MS, hold_of, opening, outcomes
from tests.fakes.clock import FakeClock
from tests.ledger.test_audit import CREDIT, DROP_TRIGGERS, books

# Each index, and a text that one of its rows has.
INDEXES = {
    "sqlite_autoindex_entry_1": b"grant:g",
    "earnings_by_day": b"PM:acme",
    "open_hold_by_order": b"order-2",
    "open_hold_by_deadline": b"order-2",
    "record_by_state": b"buy-1",
}


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Two orders, one of them open, and a purchase that was not paid yet."""
    path = tmp_path / "ledger.db"
    await books(path)
    ledger = await open_ledger(f"sqlite://{path}")
    await ledger.post(rules.purchase_created("buy-1", "alice", 100, NOW_MS))
    await ledger.close()
    return path


def root_page(path: Path, name: str) -> tuple[int, int]:
    """Where it begins in the file, and where it ends: so little fits into one."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    return (page - 1) * size, page * size


def flip_in_index(path: Path, index: str) -> None:
    bounds = root_page(path, index)
    content = bytearray(path.read_bytes())
    content[content.index(INDEXES[index], *bounds)] ^= 1
    path.write_bytes(content)


def write_over(path: Path, *statements: str) -> None:
    """Past every constraint, as a disk does it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for trigger in DROP_TRIGGERS:
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(replace(sql, 'STRICT, ', ''), 'STRICT', '')")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            assert connection.execute(statement).rowcount == 1


async def audited(path: Path) -> list[str]:
    reader = await open_ledger(f"sqlite://{path}", read_only=True)
    try:
        return (await reader.audit()).findings
    finally:
        await reader.close()


def test_every_index_is_tried(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        # Of a table without rowid, the primary key is the table.
        named = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND name NOT IN "
            "('sqlite_autoindex_account_1', 'sqlite_autoindex_record_1')"
        )
        assert {name for (name,) in named} == set(INDEXES)


@pytest.mark.parametrize("index", INDEXES)
async def test_flipped_bit_of_an_index_is_found_and_not_started_on(path: Path, tmp_path: Path, index: str) -> None:
    """The rows are sound, so that only comparing the index with them can tell."""
    flip_in_index(path, index)

    findings = await audited(path)
    assert findings
    assert all(finding.startswith("the file is damaged: ") and index in finding for finding in findings)
    with pytest.raises(InvariantBroken, match=f"is damaged, restore a backup: .*{index}"):
        await open_ledger(f"sqlite://{path}")
    with pytest.raises(InvariantBroken, match=index):
        back_up(path, tmp_path / "copy")


async def test_key_that_was_posted_twice_is_seen_without_its_index(path: Path) -> None:
    """The index has lost the first, so it took a second."""
    flip_in_index(path, "sqlite_autoindex_entry_1")
    write_over(
        path,
        "INSERT INTO entry SELECT 9, key, kind, fingerprint, at_ms, order_id, detail, seal FROM entry "
        "WHERE sequence = 1",
    )
    assert "grant:g: 2 entries have this key" in await audited(path)


DAMAGED = "cannot be read: the file is damaged"
ROWS = {
    "bytes for a text": ("UPDATE entry SET fingerprint = x'00' WHERE sequence = 2", "R1", f"entry 2 {DAMAGED}"),
    "no text": ("UPDATE entry SET detail = CAST(x'ff' AS TEXT) WHERE sequence = 3", "R1", f"entry 3 {DAMAGED}"),
    "a key that is none": ("UPDATE entry SET key = CAST(x'ff' AS TEXT) WHERE sequence = 3", "R1", f"entry 3 {DAMAGED}"),
    "text for an amount": (
        "UPDATE leg SET amount_atoms = 'many' WHERE number = 129",
        "R1",
        f"a leg of 'H:order-1' {DAMAGED}",
    ),
    "a broken amount": (
        "UPDATE account SET balance_atoms = 1.5 WHERE account = 'U:alice'",
        "R3",
        f"the account 'U:alice' {DAMAGED}",
    ),
    "no account": (
        "UPDATE account SET account = CAST(x'ff' AS TEXT) WHERE account = 'U:alice'",
        "R3",
        rf"the account b'\xff' {DAMAGED}",
    ),
    "a state that is none": (
        "UPDATE hold SET state = 'OPFN' WHERE order_id = 'order-2'",
        "R4",
        f"the state of the hold of order 'order-2' {DAMAGED}",
    ),
    "a user that is none": (
        "UPDATE hold SET user = x'00' WHERE order_id = 'order-2'",
        "R4",
        f"the hold of order 'order-2' {DAMAGED}",
    ),
    "fields that are none": ("UPDATE record SET fields = '{'", "R3", f"the record purchase 'buy-1' {DAMAGED}"),
    "fields of another type": ("UPDATE record SET fields = '[]'", "R3", f"the record purchase 'buy-1' {DAMAGED}"),
}


@pytest.mark.parametrize(("statement", "check", "finding"), ROWS.values(), ids=ROWS.keys())
async def test_row_that_cannot_be_read_is_a_finding(path: Path, statement: str, check: str, finding: str) -> None:
    write_over(path, statement)

    assert finding in await audited(path)
    reader = await open_ledger(f"sqlite://{path}", read_only=True)
    results = await Reconciler(reader, FakeClock(NOW_MS)).look()
    await reader.close()
    assert finding in next(result.findings for result in results if result.check == check)


async def test_page_that_cannot_be_read_is_a_finding_of_every_check(path: Path) -> None:
    """Then no check could be made to its end."""
    start, _ = root_page(path, "account")
    content = bytearray(path.read_bytes())
    content[start : start + 8] = b"\xff" * 8
    path.write_bytes(content)

    reader = await open_ledger(f"sqlite://{path}", read_only=True)
    found = (await reader.audit()).found
    await reader.close()
    assert {one.check for one in found} == {Check.TRANSACTIONS, Check.TRIAL_BALANCE, Check.BALANCES, Check.HOLDS}
    assert all(one.text.startswith("the file is damaged: ") and "\n" not in one.text for one in found)


@pytest.fixture
async def spoilt(path: Path) -> AsyncIterator[Ledger]:
    """A ledger whose first of three open holds went bad while it was open."""
    ledger = await open_ledger(f"sqlite://{path}")
    await ledger.post(opening(hold_of("order-3", CREDIT)))
    await ledger.post(opening(hold_of("order-4", CREDIT)))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE hold SET terms = CAST(x'ff' AS TEXT) WHERE order_id = 'order-2'")
    yield ledger
    await ledger.close()


async def test_sweeps_pass_over_a_damaged_hold(spoilt: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    expected = ["order-3", "order-4"]
    assert [hold.order_id for hold in await spoilt.open_holds()] == expected
    assert [hold.order_id for hold in await spoilt.expired_holds(NOW_MS * 2)] == expected
    assert [record.getMessage() for record in caplog.records] == [f"the hold of order 'order-2' {DAMAGED}"] * 2


async def test_whoever_asks_for_a_damaged_hold_is_told_and_others_go_on(spoilt: Ledger) -> None:
    with pytest.raises(InvariantBroken, match="order-2"):
        await spoilt.find_hold("order-2")
    bad, good = hold_of("order-2", CREDIT // 4), hold_of("order-3", CREDIT)
    posts = [rules.settle(bad, 1, 0, NOW_MS), rules.settle(good, 1, 0, NOW_MS)]
    assert await outcomes([spoilt.post(one) for one in posts]) == [InvariantBroken, True]
