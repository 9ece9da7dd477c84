"""Copies of a SQLite ledger: taken while an exchange writes, and put back only if they are whole."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from gollem.errors import InvariantBroken, LedgerUnavailable
from gollem.ledger import sqlite_audit, sqlite_file
from gollem.ledger.types import AuditReport

_ONE_FILE = "PRAGMA journal_mode = DELETE"  # no log beside it


def back_up(path: Path, to: Path) -> AuditReport:
    """One moment of the ledger, in a file of one's own that only the owner may read. Blocks.

    Raises LedgerUnavailable if `to` is there already or cannot be written, InvariantBroken if the copy does not
    balance: it is kept under its name with `.broken`, for whoever looks into it."""
    with _making(to) as unfinished, closing(sqlite_file.open_reader(path)) as source:
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as copy:
            source.backup(copy)  # in one step: between two, each write of another process would make it start anew
            copy.execute(_ONE_FILE)
        return _proven(unfinished, to)


def restore(source: Path, path: Path) -> AuditReport:
    """Put a copy where an exchange looks for its ledger, migrated if an older release made it. Blocks.

    Raises LedgerUnavailable if there is a ledger already, InvariantBroken if the copy is damaged, or has a part of a
    transaction only."""
    if not source.is_file():
        raise LedgerUnavailable(f"{source} is not there")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = sqlite_file.take_lock(path)
    try:
        with _making(path) as unfinished:
            _require_no_log(path)
            with (
                closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as given,
                closing(sqlite3.connect(unfinished, isolation_level=None)) as copy,
            ):
                given.backup(copy)
                sqlite_file.migrate(copy, source)
                copy.execute(_ONE_FILE)
            return _proven(unfinished, path)
    finally:
        os.close(lock)


@contextmanager
def _making(path: Path) -> Iterator[Path]:
    """A file that gets its name when the block is over, and never takes the place of another."""
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        if path.exists():
            raise LedgerUnavailable(f"{path} is there already: nothing is ever overwritten")
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        try:
            yield unfinished
            _sync(unfinished)
            os.link(unfinished, path)  # refused if somebody was faster
            _sync(path.parent)
        finally:
            with suppress(FileNotFoundError):
                unfinished.unlink()
    except (sqlite3.Error, OSError) as error:
        raise LedgerUnavailable(f"{path} cannot be made: {error}") from error


def _require_no_log(path: Path) -> None:
    """A log of a ledger that was here before would be read into this one."""
    for log in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        if log.exists():
            raise LedgerUnavailable(f"{log} is there: it belongs to another ledger")


def _proven(unfinished: Path, path: Path) -> AuditReport:
    with closing(sqlite_file.open_reader(unfinished)) as connection:
        report = sqlite_audit.audit(connection)
    if not report.ok:
        broken = path.with_name(path.name + ".broken")
        unfinished.replace(broken)
        raise InvariantBroken(f"the copy does not balance, it is kept as {broken}: {'; '.join(report.findings[:5])}")
    return report


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
