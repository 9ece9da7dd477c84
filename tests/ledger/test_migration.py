"""A file of an older release becomes one of this release when it is opened for writing, in one transaction."""

import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from gollem.errors import InvariantBroken, LedgerUnavailable
from gollem.ledger import Balance, HoldState, open_ledger, rules
from gollem.ledger.sqlite_backup import restore
from tests.contracts.samples import NOW_MS, hold_of, opening

VERSION_1 = Path(__file__).parent / "version_1.sql"
TO_2 = files("gollem.ledger") / "migrate_1.sql"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Written by release 0.1: a grant of 1,000, order-1 open with 100, order-2 settled by 60 of 100 with a fee of 3."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1.read_text())
    return path


def schema_of(path: Path) -> list[tuple[str, ...]]:
    """Tables, columns, indexes and triggers, without the way that led there."""
    with closing(sqlite3.connect(path)) as connection:
        named = connection.execute(
            "SELECT type, name, iif(type = 'table', '', sql) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"
        ).fetchall()
        tables = [name for kind, name, _ in named if kind == "table"]
        columns = [(table, *row[1:]) for table in tables for row in connection.execute(f"PRAGMA table_info({table})")]
    return sorted(named) + sorted(columns)


async def test_old_file_is_migrated_and_goes_on(old: Path) -> None:
    ledger = await open_ledger(f"sqlite://{old}")

    assert await ledger.balance("alice") == Balance(840, 100, True)
    assert (await ledger.provider_balance("acme")).earned_atoms == 57
    assert await ledger.open_holds() == [hold_of("order-1")]
    assert (await ledger.audit()).findings == []
    assert [line.amount_atoms for line in await ledger.user_statement("alice")] == [40, -100, -100, 1_000]

    posted = await ledger.post(rules.partial_settle(hold_of("order-1"), 30, 0, NOW_MS))
    assert posted.entry.sequence == 5
    assert not (await ledger.post(opening(hold_of("order-2")))).applied
    await ledger.post(rules.purchase_created("buy-1", "alice", 100, NOW_MS))
    closed = await ledger.find_hold("order-2")
    assert closed is not None
    assert (closed.state, closed.settled_atoms) == (HoldState.SETTLED, 0)
    assert [earned.atoms for earned in await ledger.due_earnings("20270115")] == [57 + 30]
    assert (await ledger.audit()).findings == []
    await ledger.close()


async def test_migrated_file_is_as_a_new_one(old: Path, tmp_path: Path) -> None:
    await (await open_ledger(f"sqlite://{old}")).close()
    await (await open_ledger(f"sqlite://{tmp_path}/new.db")).close()
    assert schema_of(old) == schema_of(tmp_path / "new.db")


async def test_reader_does_not_migrate(old: Path) -> None:
    before = schema_of(old)
    with pytest.raises(LedgerUnavailable, match="older release, version 1: `gollem serve` makes it version 3"):
        await open_ledger(f"sqlite://{old}", read_only=True)
    assert schema_of(old) == before


async def test_migration_that_fails_changes_nothing(old: Path) -> None:
    """A balance that the new bounds forbid: damage, which no migration may carry on."""
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("UPDATE account SET balance_atoms = -5 WHERE account LIKE 'PM:%'")
    before = schema_of(old)
    with pytest.raises(LedgerUnavailable, match="CHECK constraint failed"):
        await open_ledger(f"sqlite://{old}")
    assert schema_of(old) == before


async def test_hold_without_its_entry_is_not_migrated(old: Path) -> None:
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO hold SELECT 'order-3', user, provider, amount_atoms, remaining_atoms, "
            "opened_at_ms, expires_at_ms, fence, state, terms FROM hold WHERE order_id = 'order-1'"
        )
    with pytest.raises(LedgerUnavailable, match="a hold has its entry"):
        await open_ledger(f"sqlite://{old}")
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


@pytest.mark.parametrize("version", [1, 2])
async def test_copy_of_an_older_release_is_restored(old: Path, tmp_path: Path, version: int) -> None:
    """Otherwise an upgrade would make all backups worthless. The copy itself stays as it is."""
    if version == 2:
        with closing(sqlite3.connect(old)) as connection:
            connection.executescript(TO_2.read_text())
    report = restore(old, tmp_path / "new.db")
    assert report.findings == []
    ledger = await open_ledger(f"sqlite://{tmp_path}/new.db")
    assert await ledger.open_holds() == [hold_of("order-1")]
    assert [line.amount_atoms for line in await ledger.user_statement("alice")] == [40, -100, -100, 1_000]
    await ledger.close()
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)


async def test_damage_is_not_migrated(old: Path) -> None:
    """It would be carried on into what is made anew. Here an index lacks what its table has."""
    with closing(sqlite3.connect(old)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'leg_by_statement'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(old.read_bytes())
    content[content.index(b"U:alice", (page - 1) * size, page * size)] ^= 1
    old.write_bytes(content)
    with pytest.raises(InvariantBroken, match="is damaged, restore a backup"):
        await open_ledger(f"sqlite://{old}")
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


async def test_file_of_a_later_release_is_refused(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerUnavailable, match="later release, version 99: this one knows versions to 3"):
        await open_ledger(f"sqlite://{old}")
