"""What the local gateway knows, in one SQLite file: objects, what was answered under which key, events to be told.

For development: every read goes through a whole kind of object, and a write waits for the disk in the event loop.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from enum import Enum
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar, get_type_hints

from gollem.clock import Clock
from gollem.errors import InvariantBroken, PaymentRefused
from gollem.payments.types import BankPayout, ConnectedAccount, Event, Movement, Page, Payment, Refund, Transfer

T = TypeVar("T")
PAGE_SIZE = 100
_KEYS_MS = 7 * 86_400_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS object (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL,
  at_ms INTEGER NOT NULL, body TEXT NOT NULL, UNIQUE (kind, id)
) STRICT;
CREATE TABLE IF NOT EXISTS answer (
  key TEXT PRIMARY KEY, request TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, at_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS untold (event_id TEXT PRIMARY KEY, tries INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS secret (value TEXT NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Customer:
    """`card_id` once one was kept."""

    customer_id: str
    user: str
    card_id: str = ""


# The first field of each is its id.
_KINDS: Mapping[str, Any] = {
    kind.__name__: kind for kind in (BankPayout, ConnectedAccount, Customer, Event, Movement, Payment, Refund, Transfer)
}


class LocalStore:
    """Of one process, in one thread. Times are the clock's, in whole seconds."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # it holds a secret
        self._db = sqlite3.connect(path, timeout=5, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_SCHEMA)
        with self.transaction():
            self._db.execute(
                "INSERT INTO secret SELECT ? WHERE NOT EXISTS (SELECT 1 FROM secret)", (f"whsec_{token_hex(24)}",)
            )
            self._db.execute("DELETE FROM answer WHERE at_ms < ?", (clock.now_ms() - _KEYS_MS,))

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @property
    def secret(self) -> str:
        """Made once for the file; signs webhooks."""
        (value,) = self._db.execute("SELECT value FROM secret").fetchone()
        return str(value)

    def now_ms(self) -> int:
        return self._clock.now_ms() // 1_000 * 1_000

    # --- objects

    def add(self, thing: T, owner: str = "") -> T:
        """`owner` is the connected account that it belongs to; empty: the platform."""
        row = (type(thing).__name__, _id(thing), owner, self.now_ms(), _frozen(thing))
        self._db.execute("INSERT INTO object (kind, id, owner, at_ms, body) VALUES (?, ?, ?, ?, ?)", row)
        return thing

    def change(self, thing: T) -> T:
        row = (_frozen(thing), type(thing).__name__, _id(thing))
        changed = self._db.execute("UPDATE object SET body = ? WHERE kind = ? AND id = ?", row)
        assert changed.rowcount == 1, "only what is there changes"
        return thing

    def find(self, kind: type[T], thing_id: str, owner: str = "") -> T | None:
        query = "SELECT body FROM object WHERE kind = ? AND id = ? AND owner = ?"
        row = self._db.execute(query, (kind.__name__, thing_id, owner)).fetchone()
        return _thawed(kind, row[0]) if row else None

    def all(self, kind: type[T], owner: str = "") -> list[T]:
        """Newest first."""
        query = "SELECT body FROM object WHERE kind = ? AND owner = ? ORDER BY seq DESC"
        return [_thawed(kind, body) for (body,) in self._db.execute(query, (kind.__name__, owner))]

    def page(self, kind: type[T], since_ms: int, page: str) -> Page[T]:
        """Of the platform's, created then or later; `page` is what the one before told."""
        query = "SELECT seq, body FROM object WHERE kind = ? AND owner = '' AND at_ms >= ? AND seq < ?"
        since_ms = since_ms // 1_000 * 1_000
        rows = self._db.execute(
            f"{query} ORDER BY seq DESC LIMIT {PAGE_SIZE + 1}",
            (kind.__name__, since_ms, int(page) if page else 1 << 62),
        ).fetchall()
        shown = rows[:PAGE_SIZE]
        return Page([_thawed(kind, body) for _, body in shown], str(shown[-1][0]) if len(rows) > PAGE_SIZE else "")

    def older(self, kind: type[T], than_ms: int) -> list[tuple[str, T]]:
        """Those created then or before, each with its owner."""
        query = "SELECT owner, body FROM object WHERE kind = ? AND at_ms <= ?"
        return [(owner, _thawed(kind, body)) for owner, body in self._db.execute(query, (kind.__name__, than_ms))]

    # --- keys

    def answer(self, key: str, request: str) -> Any:
        """What was answered under the key; None if nothing was. Raises InvariantBroken if something else was asked."""
        query = "SELECT request, kind, body FROM answer WHERE key = ?"
        row = self._db.execute(query, (key,)).fetchone()
        if row is None:
            return None
        asked, kind, body = row
        if asked != request:
            raise InvariantBroken("an idempotency key was used again for something else")
        return PaymentRefused(**json.loads(body)) if kind == PaymentRefused.__name__ else _thawed(_KINDS[kind], body)

    def remember(self, key: str, request: str, result: Any) -> None:
        is_refusal = isinstance(result, PaymentRefused)
        body = json.dumps({"message": result.message, "code": result.code}) if is_refusal else _frozen(result)
        row = (key, request, type(result).__name__, body, self._clock.now_ms())
        self._db.execute("INSERT INTO answer (key, request, kind, body, at_ms) VALUES (?, ?, ?, ?, ?)", row)

    # --- events to be told

    def tell(self, event: Event) -> None:
        self.add(event, event.connected_id)
        self._db.execute("INSERT INTO untold VALUES (?, 0)", (event.event_id,))

    def untold(self) -> list[Event]:
        """Oldest first, a page of them."""
        query = "SELECT body FROM object JOIN untold ON id = event_id WHERE kind = 'Event' ORDER BY seq LIMIT ?"
        return [_thawed(Event, body) for (body,) in self._db.execute(query, (PAGE_SIZE,))]

    def told(self, event_id: str) -> None:
        self._db.execute("DELETE FROM untold WHERE event_id = ?", (event_id,))

    def not_told(self, event_id: str, tries_max: int) -> None:
        """It is tried again, but no more than so often."""
        with self.transaction():
            self._db.execute("UPDATE untold SET tries = tries + 1 WHERE event_id = ?", (event_id,))
            self._db.execute("DELETE FROM untold WHERE event_id = ? AND tries >= ?", (event_id, tries_max))


def _id(thing: Any) -> str:
    return str(getattr(thing, fields(thing)[0].name))


def _frozen(thing: Any) -> str:
    return json.dumps(asdict(thing))


def _thawed(kind: type[T], body: str) -> T:
    """Text is a state again where the field says so."""
    values = json.loads(body)
    for name, hint in get_type_hints(kind).items():
        if isinstance(hint, type) and issubclass(hint, Enum):
            values[name] = hint(values[name])
    return kind(**values)
