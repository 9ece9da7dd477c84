"""A copy is whole, private and new, and one that has half of a transaction is neither put back nor started on."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gollem.errors import InvariantBroken, LedgerUnavailable
from gollem.ledger import Ledger, open_ledger, rules, sqlite_file
from gollem.ledger.sqlite_backup import back_up, restore
from tests.contracts.samples import NOW_MS, hold_of, opening
from tests.ledger.test_audit import DROP_TRIGGERS, books
from tests.until import WITHIN_S

# What a copy may lack of the last transaction, a hold -> what is said of it.
HALVES = {
    "its entry": ("DELETE FROM entry WHERE sequence = 4", "missing entry 4"),
    "a leg": ("DELETE FROM leg WHERE number = 257", "hold:order-2: legs sum to -0.50000000"),
    "all legs": ("DELETE FROM leg WHERE number >= 256", "hold:order-2: is not what was written"),
    "its hold": ("DELETE FROM hold WHERE order_id = 'order-2'", "all accounts sum to -0.50000000"),
    "what the user paid": (
        "UPDATE account SET balance_atoms = balance_atoms + 50000000 WHERE account = 'U:alice'",
        "all accounts sum to 0.50000000",
    ),
    "what the user has held": ("UPDATE account SET held_atoms = 0", "U:alice: held 0.00000000"),
}


def files(folder: Path, pattern: str) -> list[str]:
    return [file.name for file in folder.glob(pattern)]


def spoil(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for trigger in DROP_TRIGGERS:
            connection.execute(f"DROP TRIGGER {trigger}")
        assert connection.execute(statement).rowcount > 0


async def grow(ledger: Ledger, path: Path, pages: int) -> None:
    """Until a copy takes some time, and the exchange writes meanwhile."""
    number = 0
    while path.stat().st_size < pages * 4096:
        many = [rules.grant(f"big-{number + more}", "bob", 1, NOW_MS, "detail" * 10_000) for more in range(64)]
        await asyncio.gather(*(ledger.post(one) for one in many))
        number += len(many)


async def test_copy_taken_under_load_is_whole_and_goes_on_where_it_was_taken(tmp_path: Path) -> None:
    path, copy, elsewhere = tmp_path / "ledger.db", tmp_path / "copy", tmp_path / "new" / "ledger.db"
    ledger = await open_ledger(f"sqlite://{path}")
    await ledger.post(rules.grant("g", "alice", 10**9, NOW_MS))
    await grow(ledger, path, pages=5_000)
    acknowledged: list[str] = []
    stop, busy = asyncio.Event(), asyncio.Event()

    async def trade(caller: int) -> None:
        number = 0
        while not stop.is_set():
            hold = hold_of(f"order-{caller}-{number}", 10)
            await ledger.post(opening(hold))
            acknowledged.append(hold.order_id)
            if len(acknowledged) == 50:
                busy.set()
            await ledger.post(rules.settle(hold, 7, 1, NOW_MS))
            number += 1

    traders = [asyncio.create_task(trade(caller)) for caller in range(4)]
    try:
        async with asyncio.timeout(WITHIN_S):
            await busy.wait()
            before = list(acknowledged)
            report = await asyncio.to_thread(back_up, path, copy)
    finally:
        stop.set()
        await asyncio.gather(*traders)
        await ledger.close()

    assert report.ok
    assert report.transactions > len(before)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert files(tmp_path, "copy*") == ["copy"]
    restore(copy, elsewhere)
    restored = await open_ledger(f"sqlite://{elsewhere}")
    assert all([await restored.find_hold(order_id) for order_id in before])
    assert (await restored.post(opening(hold_of("order-new", 1)))).applied
    await restored.close()


async def test_copy_ends_though_somebody_writes_between_any_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite starts a copy anew when another connection has written since its last step."""
    path = tmp_path / "ledger.db"
    ledger = await open_ledger(f"sqlite://{path}")
    await grow(ledger, path, pages=5_000)
    await ledger.close()
    steps = 0

    class Source(sqlite3.Connection):
        def backup(self, target: sqlite3.Connection, **options: Any) -> None:
            super().backup(target, progress=between_steps, **options)

    def between_steps(*_: int) -> None:
        nonlocal steps
        steps += 1
        assert steps < 50
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE account SET active = 1 - active")

    def opened(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, factory=Source)

    monkeypatch.setattr(sqlite_file, "open_reader", opened)
    assert (await asyncio.to_thread(back_up, path, tmp_path / "copy")).ok


async def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "copy"
    await books(path)
    back_up(path, copy)
    before = (path.read_bytes(), copy.read_bytes())

    with pytest.raises(LedgerUnavailable, match="is there already"):
        back_up(path, copy)
    with pytest.raises(LedgerUnavailable, match="is there already"):
        restore(copy, path)
    assert (path.read_bytes(), copy.read_bytes()) == before


async def test_running_exchange_is_not_restored_over(tmp_path: Path) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "copy"
    await books(path)
    back_up(path, copy)
    ledger = await open_ledger(f"sqlite://{path}")
    with pytest.raises(LedgerUnavailable, match="open for writing"):
        restore(copy, path)
    await ledger.close()


@pytest.mark.parametrize(("statement", "finding"), HALVES.values(), ids=HALVES.keys())
async def test_half_of_a_transaction_is_neither_restored_nor_started_on(
    tmp_path: Path, statement: str, finding: str
) -> None:
    path = tmp_path / "ledger.db"
    await books(path)
    spoil(path, statement)

    with pytest.raises(InvariantBroken, match=finding):
        restore(path, tmp_path / "new" / "ledger.db")
    assert not (tmp_path / "new" / "ledger.db").exists()
    with pytest.raises(InvariantBroken, match=finding):
        await open_ledger(f"sqlite://{path}")


@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda text: b"not a database" * 100])
async def test_damaged_copy_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "copy"
    await books(path)
    back_up(path, copy)
    copy.write_bytes(damage(copy.read_bytes()))

    with pytest.raises((InvariantBroken, LedgerUnavailable)):
        restore(copy, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()
