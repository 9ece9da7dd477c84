"""The one writer: groups of transactions, each group one commit, and nobody answered before it is on the disk.

Statements run on the event loop, between two awaits; only COMMIT, which waits for the disk, runs in the writer's
thread. A thread that ran the statements too would have to win the interpreter lock back after each of them, and beside
a busy loop that was measured to starve it (docs/decisions/0002-ledger-writer.md).
"""

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue

from gollem.errors import GollemError, InvariantBroken, LedgerUnavailable, OutcomeUnknown
from gollem.ledger.refusals import Refused
from gollem.ledger.sqlite_post import write
from gollem.ledger.sqlite_records import refusal
from gollem.ledger.sqlite_statements import write_lines
from gollem.ledger.types import Posted, Transaction

_log = logging.getLogger(__name__)
_CAREFUL_GROUPS = 64


@dataclass(slots=True)
class _Waiting:
    """A transaction and whoever waits for its answer."""

    transaction: Transaction
    future: asyncio.Future[Posted]
    answer: Posted | Exception | None = None


class GroupWriter:
    """Owns the connection. To be used on one event loop; at most `max_waiting` posts wait at once."""

    def __init__(self, connection: sqlite3.Connection, max_waiting: int, max_group: int, line_batch: int) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._max_waiting = max_waiting
        self._max_group = max_group
        self._line_batch = line_batch
        self._loop = asyncio.get_running_loop()
        self._last_sequence = 0
        self._careful_groups = 0  # so many more are written with savepoints
        self._waiting: deque[_Waiting] = deque()
        self._busy = False  # a group is scheduled or being committed
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._groups: SimpleQueue[list[_Waiting] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._commit_groups, name="ledger-commit", daemon=True)
        self._thread.start()

    def submit(self, transaction: Transaction) -> asyncio.Future[Posted]:
        """Queue it; the future has the answer. Raises LedgerUnavailable at once when too many wait: a queue that the
        disk cannot follow must be felt by whoever fills it."""
        if self._closing:
            raise LedgerUnavailable("the ledger is closed")
        if len(self._waiting) >= self._max_waiting:
            raise LedgerUnavailable(f"{self._max_waiting} transactions wait already")
        waiting = _Waiting(transaction, self._loop.create_future())
        self._waiting.append(waiting)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._write_group)
        return waiting.future

    async def drain(self) -> None:
        """Take nothing more, and finish what waits."""
        self._closing = True
        await self._idle.wait()

    async def close(self) -> None:
        """After `drain`: end the thread and close the connection."""
        self._groups.put(None)
        await asyncio.to_thread(self._thread.join)

    # --- on the loop ------------------------------------------------------------------------------------------------

    def _write_group(self) -> None:
        """Everything that came meanwhile, up to `max_group`, into one open SQL transaction."""
        size = min(len(self._waiting), self._max_group)
        group = [self._waiting.popleft() for _ in range(size)]
        try:
            self._begin()
            self._write_all(group)
            write_lines(self._cursor, self._last_sequence, self._line_batch)
        except Exception as error:
            # Of whatever kind: a group that stays open, and unanswered, would stop every later one. No COMMIT was
            # tried, so it is certain that nothing was written.
            _log.error("the ledger refuses a group", exc_info=error)
            with suppress(sqlite3.Error):
                self._roll_back()
            cause = f"the ledger's file refuses: {error}" if isinstance(error, sqlite3.Error) else "the writer failed"
            self._finish(group, LedgerUnavailable(cause))
        else:
            self._groups.put(group)

    def _begin(self) -> None:
        self._roll_back()  # if the group before failed, and its rollback too
        self._cursor.execute("BEGIN IMMEDIATE")
        (self._last_sequence,) = self._cursor.execute("SELECT coalesce(max(sequence), 0) FROM entry").fetchone()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.rollback()

    def _write_all(self, group: list[_Waiting]) -> None:
        """Savepoints cost a tenth of everything, and most groups have nothing to undo: so a group is written without.
        If one of it is refused, all is undone and written again, each in its savepoint, and so are the groups after:
        who asks for what is refused, again and again, makes nobody's group be written twice for long."""
        if not self._careful_groups:
            try:
                for waiting in group:
                    self._write_one(waiting)
                return
            except Exception:  # of whatever kind: it comes again
                self._careful_groups = _CAREFUL_GROUPS
                self._begin()
        self._careful_groups -= 1
        for waiting in group:
            self._write_apart(waiting)

    def _write_one(self, waiting: _Waiting) -> None:
        waiting.answer = write(self._cursor, waiting.transaction, self._last_sequence + 1)
        self._last_sequence += waiting.answer.applied

    def _write_apart(self, waiting: _Waiting) -> None:
        """Within a savepoint: a refused operation leaves no trace, and the others of the group stay."""
        self._cursor.execute("SAVEPOINT operation")
        try:
            self._write_one(waiting)
        except Refused:
            self._undo()
            waiting.answer = refusal(self._cursor, waiting.transaction)
        except Exception as error:
            if not _is_own(error):
                raise
            waiting.answer = _explained(error, waiting.transaction)
            self._undo()
        self._cursor.execute("RELEASE operation")

    def _undo(self) -> None:
        self._cursor.execute("ROLLBACK TO operation")
        self._careful_groups = _CAREFUL_GROUPS

    def _committed(self, group: list[_Waiting], error: Exception | None) -> None:
        if error is None:
            self._finish(group, None)
            return
        # Frames may have reached the disk before it failed; only a repeat of the call can tell.
        _log.error("the ledger could not commit: %s", error)
        with suppress(sqlite3.Error):
            self._roll_back()
        self._finish(group, OutcomeUnknown(f"the ledger could not commit: {error}"))

    def _finish(self, group: list[_Waiting], error: GollemError | None) -> None:
        """Answer the group. Those answered run before the next group is written, and so may join it."""
        for waiting in group:
            future, answer = waiting.future, error or waiting.answer
            if future.done():
                continue  # its caller was cancelled
            if isinstance(answer, Posted):
                future.set_result(answer)
            else:
                future.set_exception(answer or InvariantBroken("a transaction was left without an answer"))
        if self._waiting:
            self._loop.call_soon(self._write_group)
        else:
            self._busy = False
            self._idle.set()

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _commit_groups(self) -> None:
        while (group := self._groups.get()) is not None:
            error: Exception | None = None
            try:
                self._connection.execute("COMMIT")
            except Exception as caught:
                error = caught
            with suppress(RuntimeError):  # the loop was closed under us: nobody waits any more
                self._loop.call_soon_threadsafe(self._committed, group, error)
        self._connection.close()


def _is_own(error: Exception) -> bool:
    """Whether the error is this operation's own, so that the rest of the group may go on."""
    return not isinstance(error, sqlite3.Error) or isinstance(error, sqlite3.IntegrityError)


def _explained(error: Exception, transaction: Transaction) -> Exception:
    """Refusals as they are; a violated constraint, or anything else, is a bug of ours."""
    if isinstance(error, GollemError):
        return error
    broken = InvariantBroken(f"{transaction.key}: {error}")
    broken.__cause__ = error
    _log.error("the ledger refused %s", transaction.key, exc_info=error)
    return broken
