"""Statement lines in the table: one item for all that one request writes into one owner's statement. Pure.

A line alone has an item's attributes; several are the item's list `gathered`, oldest first. The item's sort key is the
cursor of the first. The n-th of the others has that cursor and its place, so that the lines of an item follow each
other in every page, whatever another machine writes at the same moment.
"""

import re
from typing import Any
from zlib import crc32

from gollem.errors import InvariantBroken
from gollem.ledger.dynamodb import items
from gollem.ledger.dynamodb.items import Item, number, text
from gollem.ledger.types import Entry, StatementLine

LINES = "gathered"
MAX_LINES = 256  # of one item: two hexadecimal digits
_SHARDS = 4
_CURSOR = re.compile(r"[0-9a-f]{26}(?:\.[0-9a-f]{2})?", re.ASCII)
_SORT_KEY_CHARS = 26
_NUMBER_CHARS = 16


def pks(owner: str) -> list[str]:
    """One owner's lines lie in shards, so that no partition key takes all of a busy owner's."""
    return [_pk(owner, shard) for shard in range(_SHARDS)]


def line_item(owner: str, legs: list[tuple[Entry, int]]) -> Item:
    """The lines of these legs (an entry and the leg's place in it), oldest first. Raises InvariantBroken for more than
    a cursor can count."""
    if len(legs) > MAX_LINES:
        raise InvariantBroken(f"{len(legs)} lines of {owner} in one item, of {MAX_LINES} at most")
    first, place = legs[0]
    shard = crc32(first.key.encode()) % _SHARDS
    key = items.key(_pk(owner, shard), _sort_key(first, place))
    if len(legs) == 1:
        return key | _line(first, place)
    return key | {LINES: {"L": [{"M": _line(entry, at)} for entry, at in legs]}}


@items.whole
def read_lines(item: Item) -> list[StatementLine]:
    """Oldest first."""
    sort_key = item["sk"]["S"]
    several = [line["M"] for line in item[LINES]["L"]] if LINES in item else [item]
    return [_read_line(line, f"{sort_key}.{at:02x}" if at else sort_key) for at, line in enumerate(several)]


@items.whole
def number_of(item: Item) -> int:
    """Of the entry of its first line."""
    return int(item["sk"]["S"][:_NUMBER_CHARS], 16)


def is_cursor(cursor: str) -> bool:
    return _CURSOR.fullmatch(cursor) is not None


def until(cursor: str) -> tuple[str, str]:
    """How the items compare, by their sort keys, that have lines before this one."""
    operator = "<=" if len(cursor) > _SORT_KEY_CHARS else "<"
    return operator, cursor[:_SORT_KEY_CHARS]


def _pk(owner: str, shard: int) -> str:
    return f"L#{owner}#{shard}"


def _sort_key(entry: Entry, place: int) -> str:
    """By number, then place; the rest tells entries of two machines apart."""
    return f"{entry.sequence:016x}{place:02x}{crc32(entry.key.encode()):08x}"


def _line(entry: Entry, place: int) -> Item:
    return {
        "key": text(entry.key),
        "kind": text(entry.kind),
        "amount": number(entry.legs[place].amount_atoms),
        "order_id": text(entry.order_id),
        "at_ms": number(entry.at_ms),
    }


def _read_line(line: dict[str, Any], cursor: str) -> StatementLine:
    return StatementLine(
        cursor=cursor,
        key=line["key"]["S"],
        kind=items.kind_of(line["kind"]["S"]),
        amount_atoms=int(line["amount"]["N"]),
        order_id=line["order_id"]["S"],
        at_ms=int(line["at_ms"]["N"]),
    )
