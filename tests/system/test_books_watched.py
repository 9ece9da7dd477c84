"""A running exchange proves its books by itself, and tells of a balance that falls below its threshold."""

import sqlite3
from contextlib import closing
from pathlib import Path

from gollem.app import App
from gollem.config import load
from gollem.ledger import LowBalanceWatch, open_ledger, rules
from tests.contracts.samples import NOW_MS, granting
from tests.fakes.clock import FakeClock
from tests.until import until

FAST = {
    "server.port": "0",
    "server.metrics_port": "0",
    "reconcile.quick_interval_ms": "100",
    "reconcile.deep_interval_ms": "100",
    "reconcile.seal_interval_ms": "100",
    "reconcile.alert_interval_ms": "10",
}


def rows(data: Path) -> set[tuple[str, str, str]]:
    with closing(sqlite3.connect(data / "ledger.db")) as connection:
        return set(connection.execute("SELECT kind, substr(id, 1, 20), state FROM record"))


def ended(found: set[tuple[str, str, str]], kind: str, tail: str, state: str) -> bool:
    return any((one, name[-len(tail) :], now) == (kind, tail, state) for one, name, now in found)


async def test_server_proves_its_books_and_halts_payouts_on_a_break(tmp_path: Path) -> None:
    ledger = await open_ledger(f"sqlite://{tmp_path}/ledger.db")
    await ledger.post(granting(5))
    await LowBalanceWatch(ledger, FakeClock(NOW_MS)).watch("U:alice", 10)
    await ledger.post(rules.grant("other", "bob", 5, NOW_MS))
    await ledger.close()
    app = App(load(overrides=FAST | {"storage.data": str(tmp_path), "reconcile.seal_copy": f"{tmp_path}/seals"}))
    await app.start()
    try:
        await until(lambda: all(ended(rows(tmp_path), "reconciliation", f"R{n}", "OK") for n in (1, 2, 3, 4, 9)))
        await until(lambda: ("alert_rule", "U:alice", "FIRED") in rows(tmp_path))
        await until(lambda: any(kind == "seal" for kind, _, _ in rows(tmp_path)))
        await until((tmp_path / "seals").exists)
        assert ("breaker", "payouts", "HALTED") not in rows(tmp_path)
        with closing(sqlite3.connect(tmp_path / "ledger.db", timeout=5)) as other:
            other.execute("UPDATE account SET balance_atoms = balance_atoms + 1 WHERE account = 'U:bob'")
            other.commit()
        await until(lambda: ("breaker", "payouts", "HALTED") in rows(tmp_path))
        assert ended(rows(tmp_path), "reconciliation", "R2", "BROKEN")
    finally:
        await app.stop()
