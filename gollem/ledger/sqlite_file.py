"""The files of a SQLite ledger: who may open them, how connections are set up, whether the contents can be trusted."""

import fcntl
import logging
import os
import sqlite3
from importlib.resources import files
from pathlib import Path

from gollem.errors import InvariantBroken, LedgerUnavailable
from gollem.ledger.sqlite_audit import damage, line_damage, start_findings
from gollem.ledger.sqlite_rows import text_of

_log = logging.getLogger(__name__)

SCHEMA_VERSION = 3
_MOST_NAMED = 3  # findings in an error
_APPLICATION_ID = 0x474C4D4C
_LEAST_VERSION = (3, 37, 0)  # STRICT tables
_WAL_RESET_FIXED = (3, 51, 3)
_WRITER_SETTINGS = (
    "synchronous = FULL",
    "trusted_schema = OFF",
    "temp_store = MEMORY",  # where savepoints keep what they may have to undo
    "cache_size = -65536",  # KiB: a group's pages are never written before its COMMIT
    "wal_autocheckpoint = 8192",  # pages: orders touch the same index pages again and again
    "journal_size_limit = 67108864",
)


def take_lock(path: Path) -> int:
    """The right to write, until the descriptor given back is closed. Raises LedgerUnavailable if another has it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise LedgerUnavailable(
            f"{path} is open for writing in process {owner}: stop that one first, or open the ledger read-only"
        ) from error
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes: created on first use, durable at each commit. Only one thread at a time may use
    it."""
    _check_version()
    _note_wal_reset(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    connection.text_factory = text_of
    try:
        if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise LedgerUnavailable(f"{path} is on a file system without write-ahead logging")
        for setting in _WRITER_SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        _bring_schema(connection, path)
        # From here on a foreign lock is answered at once: the event loop must not wait for it.
        connection.execute("PRAGMA busy_timeout = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that can neither write nor checkpoint."""
    _check_version()
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = text_of
    try:
        connection.execute("PRAGMA query_only = ON")
        _require_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    """Raises InvariantBroken if the file is damaged or the books do not balance."""
    _require_sound(damage(connection) + line_damage(connection), path)
    findings = start_findings(connection)
    if findings:
        raise InvariantBroken(
            f"{path}: {'; '.join(findings[:_MOST_NAMED])}: `gollem ledger audit` says all that does not hold"
        )


def _require_sound(problems: list[str], path: Path) -> None:
    if problems:
        raise InvariantBroken(f"{path} is damaged, restore a backup: {'; '.join(problems[:_MOST_NAMED])}")


def _check_version() -> None:
    if sqlite3.sqlite_version_info < _LEAST_VERSION:
        raise LedgerUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: at least 3.37 is needed")


def _note_wal_reset(path: Path) -> None:
    """Before 3.51.3, two connections that write can corrupt a write-ahead log. The lock keeps us the only one."""
    if sqlite3.sqlite_version_info < _WAL_RESET_FIXED:
        _log.info("SQLite %s: no program but this one may write to %s while it runs", sqlite3.sqlite_version, path)


def _bring_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Create it in an empty file, or migrate that of an older release."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables:
        _run_script(connection, "schema.sql")
    migrate(connection, path)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """To the version of this release, each version one transaction. Raises InvariantBroken for a damaged file, whose
    damage would be carried on, LedgerUnavailable for one of a later release or of no ledger."""
    application_id, version = _version(connection)
    if application_id == _APPLICATION_ID and 1 <= version < SCHEMA_VERSION:
        _require_sound(damage(connection), path)
        for older in range(version, SCHEMA_VERSION):
            _log.warning("%s: migrating the ledger from version %d", path, older)
            _run_script(connection, f"migrate_{older}.sql")
    _require_schema(connection, path)


def _run_script(connection: sqlite3.Connection, name: str) -> None:
    script = files("gollem.ledger").joinpath(name).read_text()
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nCOMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.rollback()
        raise


def _version(connection: sqlite3.Connection) -> tuple[int, int]:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application_id, version


def _require_schema(connection: sqlite3.Connection, path: Path) -> None:
    application_id, version = _version(connection)
    if application_id != _APPLICATION_ID:
        raise LedgerUnavailable(f"{path} is no ledger: it belongs to application {application_id:#x}")
    if version < SCHEMA_VERSION:
        raise LedgerUnavailable(
            f"{path} is of an older release, version {version}: `gollem serve` makes it version {SCHEMA_VERSION}, "
            "which that release cannot open any more"
        )
    if version > SCHEMA_VERSION:
        raise LedgerUnavailable(
            f"{path} is of a later release, version {version}: this one knows versions to {SCHEMA_VERSION}"
        )
