"""What can be asked of the ledger on DynamoDB. Indexes only find; whatever is answered was read consistently."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from gollem.clock import DAY_MS, utc_day
from gollem.errors import InvariantBroken
from gollem.ledger.accounts import (
    earnings_of,
    payable_account,
    provider_debt,
    user_account,
)
from gollem.ledger.dynamodb import items, queries
from gollem.ledger.dynamodb.client import Client
from gollem.ledger.dynamodb.items import DATED, DATED_BY, LISTED, Item, text
from gollem.ledger.dynamodb.snapshot import Snapshot
from gollem.ledger.records import require_listed
from gollem.ledger.types import (
    Balance,
    Earnings,
    Entry,
    Hold,
    HoldState,
    ProviderBalance,
    Record,
)

_log = logging.getLogger(__name__)

_PAGE = 256
_MAX_DAYS = 60  # looked at one by one
_MAX_BUCKETS = 98  # read in one transaction with two accounts more
T = TypeVar("T")


async def find(client: Client, key: Item, read: Callable[[Item], T]) -> T | None:
    """The item of this key, if there is one."""
    answer = await client.read("get_item", Key=key, ConsistentRead=True)
    return read(answer["Item"]) if "Item" in answer else None


async def find_hold(client: Client, order_id: str) -> Hold | None:
    return await find(client, items.hold_key(order_id), items.read_hold)


async def find_entry(client: Client, key: str) -> Entry | None:
    return await find(client, items.entry_key(key), items.read_entry)


async def find_record(client: Client, kind: str, record_id: str) -> Record | None:
    return await find(client, items.record_key(kind, record_id), items.read_record)


async def balance(client: Client, user: str) -> Balance:
    def read(item: Item) -> Balance:
        return Balance(items.integer(item, "balance"), items.integer(item, "held"), "frozen" not in item)

    return await find(client, items.account_key(user_account(user)), read) or Balance(0, 0, True)


async def account_atoms(client: Client, account: str) -> int:
    return await find(client, items.account_key(account), lambda item: items.integer(item, "balance")) or 0


async def provider_balance(client: Client, provider: str) -> ProviderBalance:
    """All its accounts at one moment, so that what matures meanwhile is neither missed nor counted twice."""
    buckets = await _earnings(client, provider)
    payable, debt = payable_account(provider), provider_debt(provider)
    seen = await Snapshot.take(client, [items.account_key(name) for name in (payable, debt, *buckets[:_MAX_BUCKETS])])
    maturing_atoms = sum(seen.balance_atoms(name) for name in buckets[:_MAX_BUCKETS])
    for name in buckets[_MAX_BUCKETS:]:  # three weeks that did not mature: the rest one by one
        maturing_atoms += await account_atoms(client, name)
    return ProviderBalance(maturing_atoms, seen.balance_atoms(payable), -seen.balance_atoms(debt))


async def _earnings(client: Client, provider: str) -> list[str]:
    """The provider's earnings accounts that are not empty."""
    shards = await asyncio.gather(
        *(
            queries.all_of(
                client,
                KeyConditionExpression="pk = :pk",
                FilterExpression="balance <> :nothing",
                ExpressionAttributeValues={":pk": text(pk), ":nothing": items.number(0)},
                ConsistentRead=True,
            )
            for pk in items.earnings_pks(provider)
        )
    )
    return [items.read_account_name(item) for shard in shards for item in shard]


async def open_holds(client: Client, after: str, limit: int) -> list[Hold]:
    found: list[Hold] = []
    while len(found) < limit:
        candidates = await queries.merged(
            client,
            limit,
            items.open_pks(),
            order_by="pk",
            IndexName=LISTED,
            KeyConditionExpression=f"{LISTED} = :pk AND pk > :after",
            ExpressionAttributeValues={":after": text(f"H#{after}")},
        )
        found += [hold for hold in await _holds(client, candidates) if hold.state is HoldState.OPEN]
        if len(candidates) < limit:
            break
        after = candidates[-1]["pk"]["S"][2:]
    return found[:limit]


async def expired_holds(client: Client, now_ms: int, limit: int) -> list[Hold]:
    candidates = await queries.merged(
        client,
        limit,
        items.due_pks(),
        order_by=DATED_BY,
        IndexName=DATED,
        KeyConditionExpression=f"{DATED} = :pk AND {DATED_BY} < :until",
        ExpressionAttributeValues={":until": text(items.date(max(now_ms, 0) + 1))},
    )
    holds = await _holds(client, candidates)
    return [hold for hold in holds if hold.state is HoldState.OPEN and hold.expires_at_ms <= now_ms]


async def _holds(client: Client, candidates: list[Item]) -> list[Hold]:
    return _sound(await queries.look_up(client, candidates), items.read_hold)


def _sound(found: Iterable[Item], read: Callable[[Item], T]) -> list[T]:
    """Without those that are damaged: the audit names them, and they are not to stop what is done for all others."""
    sound: list[T] = []
    for item in found:
        try:
            sound.append(read(item))
        except InvariantBroken as error:
            _log.error("passed over: %s", error.message)
    return sound


async def records(client: Client, kind: str, state: str, after: str, limit: int) -> list[Record]:
    require_listed(kind, state)
    found: list[Record] = []
    while len(found) < limit:
        candidates = await queries.first(
            client,
            limit,
            IndexName=LISTED,
            KeyConditionExpression=f"{LISTED} = :state AND pk > :after",
            ExpressionAttributeValues={
                ":state": text(items.state_pk(kind, state)),
                ":after": items.record_key(kind, after)["pk"],
            },
        )
        read = _sound(await queries.look_up(client, candidates), items.read_record)
        found += [record for record in read if record.state == state]
        if len(candidates) < limit:
            break
        after = candidates[-1]["pk"]["S"].split("#", 2)[2]
    return found[:limit]


async def journal(client: Client, after: int, until: int, limit: int) -> list[Entry]:
    """Entries of one number, which two machines may give at the same moment, are never torn apart."""
    found: list[Item] = []
    start_ms, end_ms = items.moment_ms(after), items.moment_ms(until)
    if end_ms - start_ms > _MAX_DAYS * DAY_MS:
        start_ms = await _first_moment_ms(client, after, end_ms)
    for at_ms in range(start_ms // DAY_MS * DAY_MS, end_ms + 1, DAY_MS):
        found += await queries.merged(
            client,
            limit + 1,
            items.journal_pks(utc_day(at_ms)),
            order_by=DATED_BY,
            IndexName=DATED,
            KeyConditionExpression=f"{DATED} = :pk AND {DATED_BY} BETWEEN :first AND :last",
            ExpressionAttributeValues={":first": text(items.date(after + 1)), ":last": text(items.date(until))},
        )
        if len(found) > limit:
            torn = found[limit][DATED_BY]
            found = [item for item in found[:limit] if item[DATED_BY] != torn]
            break
    return [items.read_entry(item) for item in await queries.look_up(client, found)]


async def _first_moment_ms(client: Client, after: int, otherwise_ms: int) -> int:
    """When the first entry above `after` was written. The index is by day, and does not say on which day it begins:
    this reads the whole table, once in a ledger's life, for its first seal."""
    pages = queries.pages(
        client,
        "scan",
        FilterExpression="begins_with(pk, :entry) AND #number > :after",
        ProjectionExpression="#number",
        ExpressionAttributeNames={"#number": "number"},
        ExpressionAttributeValues={":entry": text("T#"), ":after": items.number(after)},
    )
    first_ms = otherwise_ms
    async for page in pages:
        first_ms = min([first_ms, *(items.moment_ms(items.integer(item, "number")) for item in page)])
    return first_ms


async def due_earnings(client: Client, until_day: str, limit: int) -> list[Earnings]:
    """By day, then provider, as the index sorts them."""
    buckets: dict[tuple[str, str], dict[str, int]] = {}
    candidates = queries.pages(
        client,
        "query",
        IndexName=DATED,
        KeyConditionExpression=f"{DATED} = :maturing AND {DATED_BY} < :until",
        ExpressionAttributeValues={":maturing": text(items.MATURING), ":until": text(f"{until_day}$")},  # '#' + 1
        Limit=_PAGE,
    )
    async for page in candidates:
        for name, atoms in _sound(await queries.look_up(client, page), items.read_balance):
            if atoms:
                buckets.setdefault(earnings_of(name), {})[name] = atoms
        if len(buckets) > limit:
            break
    due = [Earnings(provider, day, shards) for (provider, day), shards in buckets.items()]
    return due[:limit]
