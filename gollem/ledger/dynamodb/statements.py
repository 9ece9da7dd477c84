"""Pages of a statement, newest line first, out of the owner's shards."""

import asyncio

from gollem.errors import InvalidField
from gollem.ledger.dynamodb import items, lines, queries
from gollem.ledger.dynamodb.client import Client
from gollem.ledger.dynamodb.items import Item, text
from gollem.ledger.types import EVERYTHING, StatementFilter, StatementLine

_NEWEST = "g"  # above every cursor
_MOST_PAGES = 25  # of a shard, for one page of a statement
_FILTERED = 1_000  # of which a filter lets few through: as many as fit the megabyte of one page


async def statement(client: Client, owner: str, cursor: str, limit: int, only: StatementFilter) -> list[StatementLine]:
    """The `limit` lines before the cursor, or the newest. Raises InvalidField for a cursor that no page gave, and
    where so few lines pass the filter that `_MOST_PAGES` of DynamoDB's pages do not have them."""
    if cursor and not lines.is_cursor(cursor):
        raise InvalidField("page_token", "must be the next_page_token of the page before")
    shards = await asyncio.gather(*(_of_shard(client, pk, cursor, limit, only) for pk in lines.pks(owner)))
    found = sorted((line for shard in shards for line in shard), key=lambda line: line.cursor, reverse=True)
    return found[:limit]


async def _of_shard(client: Client, pk: str, cursor: str, limit: int, only: StatementFilter) -> list[StatementLine]:
    found: list[StatementLine] = []
    pages = 0
    async for page in queries.pages(client, "query", **_query(pk, cursor, limit, only)):
        if pages == _MOST_PAGES:
            raise InvalidField("filter", "lets too few of the latest movements through: ask without it")
        pages += 1
        for item in page:
            found += [line for line in reversed(lines.read_lines(item)) if _is_wanted(line, cursor, only)]
        if len(found) >= limit:
            break
    return found[:limit]


def _is_wanted(line: StatementLine, cursor: str, only: StatementFilter) -> bool:
    return (not cursor or line.cursor < cursor) and only.admits(line.kind, line.at_ms)


def _query(pk: str, cursor: str, limit: int, only: StatementFilter) -> Item:
    """An item has a line at least, so that no more items are read than lines are wanted, but where a filter is."""
    operator, bound = lines.until(cursor or _NEWEST)
    values: Item = {":pk": text(pk), ":bound": text(bound)}
    conditions = _conditions(only, values)
    filtered = {"FilterExpression": f"attribute_exists({lines.LINES}) OR ({conditions})"} if conditions else {}
    return {
        "KeyConditionExpression": f"pk = :pk AND sk {operator} :bound",
        "ExpressionAttributeValues": values,
        "ScanIndexForward": False,
        "ConsistentRead": True,
        "Limit": limit if only == EVERYTHING else _FILTERED,
        **filtered,
    }


def _conditions(only: StatementFilter, values: Item) -> str:
    """What the table itself leaves out: lines alone in their item."""
    conditions = []
    if only.kinds:
        names = {f":kind{place}": text(kind) for place, kind in enumerate(sorted(only.kinds))}
        values |= names
        conditions.append(f"kind IN ({', '.join(names)})")
    if only.from_ms:
        values[":from"] = items.number(only.from_ms)
        conditions.append("at_ms >= :from")
    if only.to_ms is not None:
        values[":to"] = items.number(only.to_ms)
        conditions.append("at_ms < :to")
    return " AND ".join(conditions)
