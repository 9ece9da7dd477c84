"""API keys in a small SQLite file of their own, which several processes may write."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gollem.clock import Clock
from gollem.errors import WorldError
from gollem.identity.keys import make_key
from gollem.identity.types import KeyRecord, NewKey, Role

_SCHEMA = """
CREATE TABLE IF NOT EXISTS api_key (
    key_id        TEXT PRIMARY KEY,
    account       TEXT NOT NULL CHECK (length(account) BETWEEN 1 AND 64),
    role          TEXT NOT NULL CHECK (role IN ('consumer', 'provider', 'operator')),
    secret_sha256 BLOB NOT NULL UNIQUE CHECK (length(secret_sha256) = 32),
    created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;
"""
_INDEX = "CREATE INDEX IF NOT EXISTS api_key_by_account ON api_key (account, created_at_ms, key_id)"
_COLUMNS = "SELECT key_id, account, role, secret_sha256, created_at_ms, revoked_at_ms FROM api_key"
_ADOPTED = """
INSERT INTO api_key VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key_id) DO UPDATE SET revoked_at_ms = excluded.revoked_at_ms
WHERE api_key.revoked_at_ms IS NULL AND excluded.revoked_at_ms IS NOT NULL
"""
_BUSY_TIMEOUT_S = 5
MAX_LISTED = 1_000
_Row = tuple[str, str, str, bytes, int, int | None]


class SqliteKeyStore:
    """Implements `KeyStore`. Point reads run where they are called, in microseconds; what writes runs in a thread."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Opens the file, or makes it. Raises WorldError."""
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        with _mapped(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = _connect(path)

    def __repr__(self) -> str:
        return f"SqliteKeyStore({str(self._path)!r})"

    async def create(self, account: str, role: Role) -> NewKey:
        made = make_key(account, role, self._clock.now_ms())
        kept = made.record
        row = (kept.key_id, kept.account, kept.role, kept.secret_sha256, kept.created_at_ms)
        await asyncio.to_thread(self._change, "INSERT INTO api_key VALUES (?, ?, ?, ?, ?, NULL)", row)
        return made

    async def find(self, key_id: str) -> KeyRecord | None:
        rows = self._read(f"{_COLUMNS} WHERE key_id = ?", (key_id,))
        return _record(rows[0]) if rows else None

    async def adopt(self, record: KeyRecord) -> bool:
        of = record
        row = (of.key_id, of.account, of.role, of.secret_sha256, of.created_at_ms, of.revoked_at_ms)
        return await asyncio.to_thread(self._change, _ADOPTED, row) == 1

    async def list(self, account: str | None = None, after: KeyRecord | None = None) -> Sequence[KeyRecord]:
        where = "WHERE account = ?" if account is not None else "WHERE ? IS NULL"
        order = "ORDER BY account, created_at_ms, key_id"
        statement = f"{_COLUMNS} {where} AND (account, created_at_ms, key_id) > (?, ?, ?) {order} LIMIT {MAX_LISTED}"
        start = (after.account, after.created_at_ms, after.key_id) if after else ("", 0, "")
        return [_record(row) for row in await asyncio.to_thread(self._read, statement, (account, *start))]

    async def revoke(self, key_id: str) -> bool:
        statement = "UPDATE api_key SET revoked_at_ms = ? WHERE key_id = ? AND revoked_at_ms IS NULL"
        return await asyncio.to_thread(self._change, statement, (self._clock.now_ms(), key_id)) == 1

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _read(self, statement: str, row: tuple[object, ...]) -> Sequence[_Row]:
        with self._lock, _mapped(self._path):
            return self._connection.execute(statement, row).fetchall()

    def _change(self, statement: str, row: tuple[object, ...]) -> int:
        """Rows changed, on the disk."""
        with self._lock, _mapped(self._path):
            return self._connection.execute(statement, row).rowcount

    def _close(self) -> None:
        with self._lock:
            self._connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        # No write-ahead log: `gollem keys` writes while an exchange runs, and before SQLite 3.51.3 a log that two
        # processes write can be corrupted. EXTRA: a revocation, once told, survives a loss of power.
        if connection.execute("PRAGMA journal_mode = DELETE").fetchone() != ("delete",):
            raise sqlite3.OperationalError("its write-ahead log is in use by another release")
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute(_SCHEMA)
        connection.execute(_INDEX)
    except BaseException:
        connection.close()
        raise
    return connection


def _record(row: _Row) -> KeyRecord:
    key_id, account, role, secret_sha256, created_at_ms, revoked_at_ms = row
    return KeyRecord(key_id, account, Role(role), secret_sha256, created_at_ms, revoked_at_ms)


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise WorldError(f"the API keys in {path} cannot be reached: {error}") from error
