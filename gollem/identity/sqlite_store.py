"""API keys in a small SQLite file of their own, which several processes may write."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gollem.errors import WorldError
from gollem.identity.types import KeyRecord, Role

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
_BUSY_TIMEOUT_S = 5
MAX_LISTED = 1_000


class SqliteKeyStore:
    """Any thread may call. `find` takes microseconds; `create` and `revoke` wait for the disk: keep them off the event
    loop. All raise WorldError when the file does not answer."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        with _mapped(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = _connect(path)
        self._path = path

    def __repr__(self) -> str:
        return f"SqliteKeyStore({str(self._path)!r})"

    def create(self, record: KeyRecord) -> None:
        row = (record.key_id, record.account, record.role, record.secret_sha256, record.created_at_ms)
        self._execute("INSERT INTO api_key VALUES (?, ?, ?, ?, ?, NULL)", row)

    def find(self, key_id: str) -> KeyRecord | None:
        """One indexed read; revoked keys too."""
        rows = self._execute(f"{_COLUMNS} WHERE key_id = ?", (key_id,))
        return _record(rows[0]) if rows else None

    def list_keys(self, account: str | None = None) -> list[KeyRecord]:
        """Of one account or of all, the oldest first, at most MAX_LISTED."""
        where = "WHERE account = ?" if account is not None else "WHERE ? IS NULL"
        rows = self._execute(
            f"{_COLUMNS} {where} ORDER BY account, created_at_ms, key_id LIMIT {MAX_LISTED}", (account,)
        )
        return [_record(row) for row in rows]

    def revoke(self, key_id: str, now_ms: int) -> KeyRecord | None:
        """The key as it is now, or nothing if there is none. The first revocation's time stays."""
        self._execute(
            "UPDATE api_key SET revoked_at_ms = ? WHERE key_id = ? AND revoked_at_ms IS NULL", (now_ms, key_id)
        )
        return self.find(key_id)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _execute(self, statement: str, row: tuple[object, ...]) -> list[tuple[str, str, str, bytes, int, int | None]]:
        with self._lock, _mapped(self._path):
            return self._connection.execute(statement, row).fetchall()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_SCHEMA)
        connection.execute(_INDEX)
    except BaseException:
        connection.close()
        raise
    return connection


def _record(row: tuple[str, str, str, bytes, int, int | None]) -> KeyRecord:
    key_id, account, role, secret_sha256, created_at_ms, revoked_at_ms = row
    return KeyRecord(key_id, account, Role(role), secret_sha256, created_at_ms, revoked_at_ms)


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise WorldError(f"the API keys in {path} cannot be reached: {error}") from error
