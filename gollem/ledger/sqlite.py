"""The ledger on SQLite, for one machine: one file, one writer, every answer durable.

Point reads run on the event loop (some microseconds, and a write-ahead log never makes a reader wait for the writer);
lists and the audit run in threads, each over a connection of its own.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from gollem.errors import InvariantBroken, LedgerUnavailable
from gollem.ledger import sqlite_audit, sqlite_file, sqlite_reads
from gollem.ledger.accounts import provider_statement, user_account
from gollem.ledger.checks import check
from gollem.ledger.sqlite_writer import GroupWriter
from gollem.ledger.types import (
    ALL_CHECKS,
    EVERYTHING,
    AuditReport,
    Balance,
    Check,
    Earnings,
    Entry,
    Hold,
    Posted,
    ProviderBalance,
    Record,
    StatementFilter,
    StatementLine,
    Transaction,
)

MAX_WAITING = 8_192
MAX_GROUP = 128
LINE_BATCH = 1_024  # entries: their lines of statements take some milliseconds, and reading so many legs less than one

_P = ParamSpec("_P")
_T = TypeVar("_T")


class SqliteLedger:
    """Implements `Ledger`. Made by `open_sqlite`; lives on the event loop it was opened on."""

    def __init__(self, path: Path, writer: GroupWriter | None, lock: int | None) -> None:
        self._path = path
        self._writer = writer
        self._lock = lock
        self._points = sqlite_file.open_reader(path)
        self._lists = sqlite_file.open_reader(path)
        self._executor = ThreadPoolExecutor(1, "ledger-read")
        self._closed: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"SqliteLedger({str(self._path)!r})"

    async def post(self, transaction: Transaction) -> Posted:
        check(transaction)
        if self._writer is None:
            raise LedgerUnavailable("the ledger is open for reading only")
        return await self._writer.submit(transaction)

    async def balance(self, user: str) -> Balance:
        return self._point(sqlite_reads.balance, user)

    async def account_atoms(self, account: str) -> int:
        return self._point(sqlite_reads.account_atoms, account)

    async def provider_balance(self, provider: str) -> ProviderBalance:
        return await self._list(sqlite_reads.provider_balance, provider)

    async def due_earnings(self, until_day: str, limit: int = 256) -> list[Earnings]:
        return await self._list(sqlite_reads.due_earnings, until_day, limit)

    async def find_hold(self, order_id: str) -> Hold | None:
        return self._point(sqlite_reads.find_hold, order_id)

    async def find_entry(self, key: str) -> Entry | None:
        return self._point(sqlite_reads.find_entry, key)

    async def find_record(self, kind: str, record_id: str) -> Record | None:
        return self._point(sqlite_reads.find_record, kind, record_id)

    async def records(self, kind: str, state: str, after: str = "", limit: int = 256) -> list[Record]:
        return await self._list(sqlite_reads.records, kind, state, after, limit)

    async def open_holds(self, after: str = "", limit: int = 1_000) -> list[Hold]:
        return await self._list(sqlite_reads.open_holds, after, limit)

    async def expired_holds(self, now_ms: int, limit: int = 256) -> list[Hold]:
        return await self._list(sqlite_reads.expired_holds, now_ms, limit)

    async def user_statement(
        self, user: str, cursor: str = "", limit: int = 50, only: StatementFilter = EVERYTHING
    ) -> list[StatementLine]:
        return await self._list(sqlite_reads.statement, user_account(user), cursor, limit, only)

    async def provider_statement(
        self, provider: str, cursor: str = "", limit: int = 50, only: StatementFilter = EVERYTHING
    ) -> list[StatementLine]:
        return await self._list(sqlite_reads.statement, provider_statement(provider), cursor, limit, only)

    async def audit(self, checks: frozenset[Check] = ALL_CHECKS) -> AuditReport:
        self._require_open()
        return await asyncio.to_thread(self._audit, checks)

    async def settled_sequence(self) -> int:
        return self._point(sqlite_reads.last_sequence)

    async def journal(self, after: int, until: int, limit: int = 1_000) -> list[Entry]:
        return await self._list(sqlite_reads.journal, after, until, limit)

    async def close(self) -> None:
        if self._closed is None:
            self._closed = asyncio.create_task(self._close())
        await asyncio.shield(self._closed)

    def _point(self, read: Callable[Concatenate[sqlite3.Cursor, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        self._require_open()
        with _reading():
            return read(self._points.cursor(), *args, **kwargs)

    async def _list(
        self, read: Callable[Concatenate[sqlite3.Cursor, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        def run() -> _T:
            with _reading():
                return read(self._lists.cursor(), *args, **kwargs)

        self._require_open()
        return await asyncio.get_running_loop().run_in_executor(self._executor, run)

    def _audit(self, checks: frozenset[Check]) -> AuditReport:
        with _reading(), closing(sqlite_file.open_reader(self._path)) as connection:
            return sqlite_audit.audit(connection, checks)

    async def _close(self) -> None:
        """Readers first, so that the writer is the last and leaves one file without a log."""
        if self._writer:
            await self._writer.drain()
        await asyncio.to_thread(self._executor.shutdown)
        self._lists.close()
        self._points.close()
        if self._writer:
            await self._writer.close()
        if self._lock is not None:
            os.close(self._lock)

    def _require_open(self) -> None:
        if self._closed is not None:
            raise LedgerUnavailable("the ledger is closed")


def open_sqlite(
    path: Path,
    *,
    read_only: bool = False,
    max_waiting: int = MAX_WAITING,
    max_group: int = MAX_GROUP,
    line_batch: int = LINE_BATCH,
) -> SqliteLedger:
    """Open the file, made if it is not there, and check it; blocks while it does. Call it on the running event loop.

    Raises LedgerUnavailable if another process writes to it or it cannot be opened, InvariantBroken if it is damaged or
    does not balance."""
    if read_only:
        with _opening(path):
            return SqliteLedger(path, None, None)
    with _opening(path):
        lock = sqlite_file.take_lock(path)
        try:
            connection = sqlite_file.open_writer(path)
            sqlite_file.check_integrity(connection, path)
            return SqliteLedger(path, GroupWriter(connection, max_waiting, max_group, line_batch), lock)
        except BaseException:
            os.close(lock)
            raise


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise LedgerUnavailable(f"the ledger cannot be read: {error}") from error


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:  # the last: a schema whose text is damaged
        if isinstance(error, UnicodeDecodeError) or _error_code(error) == sqlite3.SQLITE_CORRUPT:
            raise InvariantBroken(f"{path} is damaged, restore a backup: {error}") from error
        raise LedgerUnavailable(f"{path} cannot be opened: {error}") from error


def _error_code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
