"""The ledger: who owns what. Double entry, all or nothing, each key once for ever."""

from pathlib import Path
from socket import gethostname

from gollem.dynamodb_url import address_of
from gollem.errors import LedgerUnavailable
from gollem.ledger import accounts, records, rules
from gollem.ledger.desk import Desk
from gollem.ledger.interface import Ledger
from gollem.ledger.low_balance import LowBalanceWatch
from gollem.ledger.reconcile import Reconciler, Result
from gollem.ledger.types import (
    AuditReport,
    Balance,
    Check,
    Entry,
    Hold,
    HoldState,
    Kind,
    Posted,
    Record,
    StatementFilter,
    StatementLine,
    Transaction,
)

__all__ = [
    "AuditReport",
    "Balance",
    "Check",
    "Desk",
    "Entry",
    "Hold",
    "HoldState",
    "Kind",
    "Ledger",
    "LowBalanceWatch",
    "Posted",
    "Reconciler",
    "Record",
    "Result",
    "StatementFilter",
    "StatementLine",
    "Transaction",
    "accounts",
    "name_of",
    "open_ledger",
    "records",
    "rules",
]


async def open_ledger(url: str, *, read_only: bool = False) -> Ledger:
    """`sqlite:///var/lib/gollem/ledger.db` (an absolute path), `dynamodb://table?region=...&endpoint=...` (a table made
    by `gollem ledger create`), or `memory:`, which keeps nothing.

    Raises LedgerUnavailable if it cannot be opened, or another process writes to it and `read_only` is not set, and
    InvariantBroken if its books do not balance."""
    if url == "memory:":
        from gollem.ledger.memory import MemoryLedger

        return MemoryLedger()
    if url.startswith("dynamodb:"):
        from gollem.ledger.dynamodb.ledger import open_dynamodb

        return await open_dynamodb(url, read_only=read_only)
    path = url.removeprefix("sqlite:///").lstrip("/")
    if url.startswith("sqlite:///") and path:
        from gollem.ledger.sqlite import open_sqlite

        return open_sqlite(Path("/", path), read_only=read_only)
    raise LedgerUnavailable(
        f"{url!r} is no ledger: such as sqlite:///var/lib/gollem/ledger.db, dynamodb://table, or memory:"
    )


def name_of(url: str) -> str:
    """What nodes compare to tell whether they keep the same books: a table, by any endpoint, or a machine's file."""
    address = address_of(url)
    return f"dynamodb://{address.table}" if address else f"{url} on {gethostname()}"
