"""A table out of an export: every item as a line of JSON, as DynamoDB's own protocol has it, and a last line with how
many they are and the digest of all of them. AWS's own exports, whose lines are `{"Item": ...}`, have no such line: they
are taken too, and it is said that nothing shows whether they are whole.

An export is no snapshot, and a backup may have been cut anywhere: it is proven before anything is written. Half of a
transaction shows as an entry whose accounts or hold were not moved, or as a move without its entry.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from gollem.errors import InvariantBroken, LedgerUnavailable
from gollem.ledger.audit import AccountState, HoldBalance, hold_digest, prove
from gollem.ledger.dynamodb import items, queries
from gollem.ledger.dynamodb.items import Item
from gollem.ledger.dynamodb.ledger import open_dynamodb
from gollem.ledger.dynamodb.lines import read_lines
from gollem.ledger.types import AuditReport

_AT_ONCE = 10  # of at most 400 KiB each, in one request of at most 4 MB
_KNOWN = ("T#", "A#", "PM#", "H#", "R#", "L#", "N#")
_log = logging.getLogger(__name__)


async def export_table(url: str, to: Path) -> int:
    """How many items were written. Raises LedgerUnavailable if the file is there."""
    ledger = await open_dynamodb(url, read_only=True)
    count, digest = 0, blake2b(digest_size=32)
    try:
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            async for page in queries.pages(ledger.client, "scan", ConsistentRead=True):
                lines = b"".join(json.dumps(item, sort_keys=True).encode() + b"\n" for item in page)
                file.write(lines)
                digest.update(lines)
                count += len(page)
            file.write(json.dumps({"items": count, "digest": digest.hexdigest()}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LedgerUnavailable(f"{to} cannot be made: {error.strerror}") from error
    finally:
        await ledger.close()
    return count


async def rebuild_table(source: Path, url: str) -> tuple[int, list[str]]:
    """How many items were written and, if none, why. Raises LedgerUnavailable if the table is not empty."""
    _require_whole(source)
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
        (items.read_sealed(item)[:2] for item in read_export(source, "T#")),
        (_account_of(item) for item in read_export(source, "A#", "PM#")),
        (_balance_of(item) for item in read_export(source, "H#")),
        (items.read_record(item) for item in read_export(source, "R#")),
    )


def read_export(source: Path, *prefixes: str) -> Iterator[Item]:
    """Items whose key begins so, or all. Raises LedgerUnavailable, and InvariantBroken for a line that is no item."""
    for number, line in _lines(source):
        item = _item(line, f"{source}, line {number}")
        if item and items.name_of(item).startswith(prefixes or _KNOWN):
            yield item


def _lines(source: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with source.open("rb") as file:
            yield from enumerate(file, 1)
    except OSError as error:
        raise LedgerUnavailable(f"{source} cannot be read: {error.strerror}") from error


def _require_whole(source: Path) -> None:
    """Raises InvariantBroken where the last line does not fit all others, or is not there."""
    digest, count, last, is_of_aws = blake2b(digest_size=32), 0, b"", True
    for _, line in _lines(source):
        if last:
            digest.update(last)
            count += 1
        last = line
        is_of_aws = is_of_aws and line.startswith(b'{"Item"')
    if is_of_aws and last:
        _log.warning("%s is an export of AWS's own: nothing in it shows whether it is whole", source)
    elif last.strip() != json.dumps({"items": count, "digest": digest.hexdigest()}).encode():
        raise InvariantBroken(
            f"{source}, line {count + 1}: does not fit the lines before: the file is damaged or cut off"
        )


def _item(line: bytes, where: str) -> Item | None:
    """None for the last line, which is about the others."""
    try:
        item: Item = json.loads(line)
        if item.keys() == {"items", "digest"}:
            return None
        item = item.get("Item", item)
        if isinstance(item["pk"]["S"], str) and isinstance(item["sk"]["S"], str):
            _require_readable(item)
            return item
    except InvariantBroken as error:
        raise InvariantBroken(f"{where}: {error.message}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise InvariantBroken(f"{where} is no item of a ledger: the file is damaged or cut off")


def _require_readable(item: Item) -> None:
    """Raises InvariantBroken."""
    prefix = items.name_of(item).partition("#")[0]
    if prefix in _READERS:
        _READERS[prefix](item)


def _account_of(item: Item) -> AccountState:
    *_, (_, balance_atoms, held_atoms) = items.read_sums(item)
    return AccountState(items.read_account_name(item), balance_atoms, held_atoms)


def _balance_of(item: Item) -> HoldBalance:
    hold = items.read_hold(item)
    return HoldBalance(hold.order_id, hold.user, hold.state, items.read_remaining(item), hold_digest(hold))


_READERS: dict[str, Callable[[Item], object]] = {
    "T": items.read_sealed,
    "A": _account_of,
    "PM": _account_of,
    "H": _balance_of,
    "R": items.read_record,
    "L": read_lines,
}
