"""Lists out of the table: pages of a query, the first of several shards merged, items by their keys."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Any

from gollem.errors import LedgerUnavailable
from gollem.ledger.dynamodb.client import Client
from gollem.ledger.dynamodb.items import Item, text

_BATCH = 100  # keys of one BatchGetItem
_MOST_TURNS = 10


async def pages(client: Client, operation: str, **arguments: Any) -> AsyncIterator[list[Item]]:
    """Of a Query or a Scan, until there are no more."""
    while True:
        answer = await client.read(operation, **arguments)
        yield answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


async def first(client: Client, limit: int, **arguments: Any) -> list[Item]:
    """At most `limit` items of a query."""
    found: list[Item] = []
    async for page in pages(client, "query", Limit=limit, **arguments):
        found += page
        if len(found) >= limit:
            break
    return found[:limit]


async def merged(client: Client, limit: int, pks: Iterable[str], order_by: str, **arguments: Any) -> list[Item]:
    """The first `limit` over several partition keys, which the condition calls `:pk`."""
    values = arguments.pop("ExpressionAttributeValues")
    shards = await asyncio.gather(
        *(first(client, limit, ExpressionAttributeValues=values | {":pk": text(pk)}, **arguments) for pk in pks)
    )
    found = sorted((item for shard in shards for item in shard), key=lambda item: item[order_by]["S"])
    return found[:limit]


async def all_of(client: Client, **arguments: Any) -> list[Item]:
    """Every item of a query."""
    return [item async for page in pages(client, "query", **arguments) for item in page]


async def look_up(client: Client, found: Iterable[Item]) -> list[Item]:
    """What an index found, in its order, as it is now; what is gone is left out."""
    keys = [{"pk": item["pk"], "sk": item["sk"]} for item in found]
    batches = iter(keys)
    items: dict[tuple[str, str], Item] = {}
    while batch := list(islice(batches, _BATCH)):
        for item in await _batch(client, batch):
            items[item["pk"]["S"], item["sk"]["S"]] = item
    names = [(key["pk"]["S"], key["sk"]["S"]) for key in keys]
    return [items[name] for name in names if name in items]


async def _batch(client: Client, keys: list[Item]) -> list[Item]:
    """Consistent; DynamoDB may answer a part only, and is asked for the rest."""
    found: list[Item] = []
    for turn in range(_MOST_TURNS):
        request = {client.table: {"Keys": keys, "ConsistentRead": True}}
        answer = await client.ask("batch_get_item", {"RequestItems": request})
        found += answer["Responses"].get(client.table, [])
        keys = answer.get("UnprocessedKeys", {}).get(client.table, {}).get("Keys", [])
        if not keys:
            return found
        await asyncio.sleep(0.01 * 2**turn)
    raise LedgerUnavailable(f"{len(keys)} items were not read in {_MOST_TURNS} attempts")
