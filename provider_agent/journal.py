"""What the agent must not forget: which orders it has begun or refused, and what it has earned and not yet settled.

One SQLite file, flushed to disk before anything is done that relies on it. The file is locked while the agent runs:
two agents on one folder would each take the other's running orders for orders that a crash has cut off.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

from provider_agent.metering import Outcome, Tokens

Result = TypeVar("Result")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    order_id          TEXT PRIMARY KEY,
    state             TEXT NOT NULL CHECK (state IN ('refused', 'running', 'finished', 'closed')),
    keep_until_ms     INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL DEFAULT 0 CHECK (prompt_tokens >= 0),
    completion_tokens INTEGER NOT NULL DEFAULT 0 CHECK (completion_tokens >= 0),
    outcome           TEXT NOT NULL DEFAULT '' CHECK ((outcome = '') = (state IN ('refused', 'running')))
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS orders_by_expiry ON orders (keep_until_ms);
CREATE INDEX IF NOT EXISTS orders_unsettled ON orders (order_id) WHERE state = 'finished';
CREATE INDEX IF NOT EXISTS orders_begun ON orders (order_id) WHERE state IN ('running', 'finished');
"""


class State(Enum):
    """Of an order: refused for good; running; finished but not settled; settled, or never to be."""

    REFUSED = "refused"
    RUNNING = "running"
    FINISHED = "finished"
    CLOSED = "closed"


class JournalInUse(Exception):
    """Another agent runs on the same folder."""


@dataclass(frozen=True, slots=True)
class Earning:
    """A generation that has ended and is to be settled."""

    order_id: str
    tokens: Tokens
    outcome: Outcome


class Journal:
    """One thread owns the file, so that a slow disk does not hold up the streams."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "orders.sqlite"
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._db: sqlite3.Connection

    async def open(self) -> int:
        """Open it, and finish what a crash has cut off with what had been delivered. Returns how many there were.

        Raises JournalInUse, OSError, sqlite3.Error.
        """
        return await self._do(self._open)

    async def close(self) -> None:
        await self._do(lambda: self._db.close())
        self._thread.shutdown()

    async def begin(self, order_id: str, keep_until_ms: int) -> State | None:
        """Take an order into service, once for all time. None: it is yours; else what became of it before."""
        return await self._do(lambda: self._claim(order_id, State.RUNNING, keep_until_ms))

    async def refuse(self, order_id: str, keep_until_ms: int) -> State:
        """Never serve this order, unless it has begun: what it is now."""
        before = await self._do(lambda: self._claim(order_id, State.REFUSED, keep_until_ms))
        return before or State.REFUSED

    async def progress(self, delivered: Mapping[str, Tokens]) -> None:
        """Note what running orders have delivered so far, for the case of a crash."""
        rows = [(tokens.prompt, tokens.completion, order_id) for order_id, tokens in delivered.items()]
        sql = "UPDATE orders SET prompt_tokens = ?, completion_tokens = ? WHERE order_id = ? AND state = 'running'"
        await self._do(lambda: self._in_one_transaction(sql, rows))

    async def finish(self, earning: Earning) -> None:
        """The generation has ended. When this returns, a crash does not lose what it earned."""
        sql = (
            "UPDATE orders SET state = 'finished', prompt_tokens = ?, completion_tokens = ?, outcome = ?"
            " WHERE order_id = ? AND state = 'running'"
        )
        tokens = earning.tokens
        row = (tokens.prompt, tokens.completion, earning.outcome.value, earning.order_id)
        await self._do(lambda: self._db.execute(sql, row))

    async def settled(self, order_id: str) -> None:
        """The exchange has answered for good."""
        sql = "UPDATE orders SET state = 'closed' WHERE order_id = ? AND state = 'finished'"
        await self._do(lambda: self._db.execute(sql, (order_id,)))

    async def unsettled(self, limit: int) -> list[Earning]:
        sql = "SELECT order_id, prompt_tokens, completion_tokens, outcome FROM orders WHERE state = 'finished' LIMIT ?"
        rows = await self._do(lambda: self._db.execute(sql, (limit,)).fetchall())
        return [Earning(order, Tokens(prompt, made), Outcome(outcome)) for order, prompt, made, outcome in rows]

    async def begun(self, limit: int) -> list[str]:
        """Orders that run, or have ended and are not settled yet."""
        sql = "SELECT order_id FROM orders WHERE state IN ('running', 'finished') LIMIT ?"
        rows = await self._do(lambda: self._db.execute(sql, (limit,)).fetchall())
        return [order_id for (order_id,) in rows]

    async def forget(self, now_ms: int) -> int:
        """Drop orders whose grant and hold are both long over. Returns how many."""
        sql = "DELETE FROM orders WHERE keep_until_ms < ? AND state != 'running'"
        return await self._do(lambda: self._db.execute(sql, (now_ms,)).rowcount)

    async def _do(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
            cut_off = "UPDATE orders SET state = 'finished', outcome = 'FAILED' WHERE state = 'running'"
            return self._db.execute(cut_off).rowcount
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise JournalInUse(f"{self._path} is in use by another agent") from None
            raise

    def _in_one_transaction(self, sql: str, rows: list[tuple[int, int, str]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany(sql, rows)
        self._db.execute("COMMIT")

    def _claim(self, order_id: str, state: State, keep_until_ms: int) -> State | None:
        """Enter an order if it is new. None: it was; else its state."""
        sql = "INSERT INTO orders (order_id, state, keep_until_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        if self._db.execute(sql, (order_id, state.value, keep_until_ms)).rowcount:
            return None
        [(before,)] = self._db.execute("SELECT state FROM orders WHERE order_id = ?", (order_id,)).fetchall()
        return State(before)
