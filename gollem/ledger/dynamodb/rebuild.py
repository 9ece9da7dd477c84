"""A table out of an export: every item as a line of JSON, as DynamoDB's own protocol has it.

An export is no snapshot, and a backup may have been cut anywhere: it is proven before anything is written. Half of a
transaction shows as an entry whose accounts or hold were not moved, or as a move without its entry.
"""

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from gollem.errors import InvariantBroken, LedgerUnavailable
from gollem.ledger.audit import AccountState, HoldBalance, prove
from gollem.ledger.dynamodb import items, queries
from gollem.ledger.dynamodb.items import Item
from gollem.ledger.dynamodb.ledger import open_dynamodb
from gollem.ledger.types import AuditReport

_AT_ONCE = 10  # of at most 400 KiB each, in one request of at most 4 MB
_KNOWN = ("T#", "A#", "PM#", "H#", "R#", "L#")


async def export_table(url: str, to: Path) -> int:
    """How many items were written. Raises LedgerUnavailable if the file is there."""
    ledger = await open_dynamodb(url, read_only=True)
    count = 0
    try:
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            async for page in queries.pages(ledger.client, "scan", ConsistentRead=True):
                file.writelines(json.dumps(item, sort_keys=True) + "\n" for item in page)
                count += len(page)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LedgerUnavailable(f"{to} cannot be made: {error.strerror}") from error
    finally:
        await ledger.close()
    return count


async def rebuild_table(source: Path, url: str) -> tuple[int, list[str]]:
    """How many items were written and, if none, why. Raises LedgerUnavailable if the table is not empty."""
    findings = prove_export(source).findings
    if findings:
        return 0, findings
    ledger = await open_dynamodb(url)
    try:
        async for page in queries.pages(ledger.client, "scan", Limit=1):
            if page:
                raise LedgerUnavailable(f"{url} is not empty: nothing is ever overwritten")
        count, table = 0, ledger.client.table
        everything = read_export(source)
        while some := list(islice(everything, _AT_ONCE)):
            puts = [{"Put": {"TableName": table, "Item": item}} for item in some]
            await ledger.client.ask("transact_write_items", {"TransactItems": puts})
            count += len(some)
        return count, (await ledger.audit()).findings
    finally:
        await ledger.close()


def prove_export(source: Path) -> AuditReport:
    """The audit of what the file says. Reads it four times, so that memory is bounded as that of every audit."""
    return prove(
        ((items.read_entry(item), item["seal"]["S"]) for item in read_export(source, "T#")),
        (
            AccountState(items.read_account_name(item), items.integer(item, "balance"), items.integer(item, "held"))
            for item in read_export(source, "A#", "PM#")
        ),
        (_balance_of(item) for item in read_export(source, "H#")),
        (items.read_record(item) for item in read_export(source, "R#")),
    )


def read_export(source: Path, *prefixes: str) -> Iterator[Item]:
    """Items whose key begins so, or all. Raises LedgerUnavailable, and InvariantBroken for a line that is no item."""
    try:
        with source.open() as file:
            for number, line in enumerate(file, 1):
                item = _item(line, f"{source}, line {number}")
                if item["pk"]["S"].startswith(prefixes or _KNOWN):
                    yield item
    except OSError as error:
        raise LedgerUnavailable(f"{source} cannot be read: {error.strerror}") from error


def _item(line: str, where: str) -> Item:
    try:
        item: Item = json.loads(line)
        if isinstance(item["pk"]["S"], str) and isinstance(item["sk"]["S"], str):
            return item
    except (ValueError, KeyError, TypeError):
        pass
    raise InvariantBroken(f"{where} is no item of a ledger: the file is damaged or cut off")


def _balance_of(item: Item) -> HoldBalance:
    hold = items.read_hold(item)
    return HoldBalance(hold.order_id, hold.user, hold.state, items.integer(item, "remaining"))
