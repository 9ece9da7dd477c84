"""API keys in a DynamoDB table of their own, which nodes on any number of machines share.

A key is one item under its id, read with consistency, so that a revocation counts for whoever reads after it. The
index `listed` has all keys by account and age; it follows in a moment, and no call's admission depends on it.
"""

from collections.abc import Sequence

from gollem.clock import Clock
from gollem.errors import WorldError
from gollem.identity.dynamodb_table import KEY, LISTED, LISTED_BY, Item, Table, parse
from gollem.identity.keys import make_key
from gollem.identity.types import KeyRecord, NewKey, Role

MAX_LISTED = 1_000
_NOBODY = "-"  # no id of a key
_ALL = {"S": "key"}  # the index's only partition: keys are made by people, not by the thousand a second


class DynamoDBKeyStore:
    """Implements `KeyStore`. Made by `open_dynamodb_store`; lives on the event loop it was opened on."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def __repr__(self) -> str:
        return f"DynamoDBKeyStore({self._table!r})"

    async def create(self, account: str, role: Role) -> NewKey:
        made = make_key(account, role, self._clock.now_ms())
        condition = f"attribute_not_exists({KEY})"
        is_new = await self._table.change("put_item", Item=_item(made.record), ConditionExpression=condition)
        # If not, it was written by a try whose answer was lost; or somebody drew the same 64 bits.
        if not is_new and await self.find(made.key_id) != made.record:
            raise WorldError(f"there is a key {made.key_id} already: make another")
        return made

    async def find(self, key_id: str) -> KeyRecord | None:
        answer = await self._table.call("get_item", Key=_key(key_id), ConsistentRead=True)
        return _record(answer["Item"]) if "Item" in answer else None

    async def adopt(self, record: KeyRecord) -> bool:
        condition = f"attribute_not_exists({KEY})"
        is_new = await self._table.change("put_item", Item=_item(record), ConditionExpression=condition)
        if is_new or record.revoked_at_ms is None:
            return is_new
        return await self._revoke(record.key_id, record.revoked_at_ms)

    async def list(self, account: str | None = None, after: KeyRecord | None = None) -> Sequence[KeyRecord]:
        condition, values = f"{LISTED} = :all", {":all": _ALL}
        if account is not None:
            condition += f" AND begins_with({LISTED_BY}, :account)"
            values |= {":account": {"S": f"{account}#"}}
        found: list[KeyRecord] = []
        start: Item = {"ExclusiveStartKey": _place(after)} if after else {}
        while len(found) < MAX_LISTED:
            answer = await self._table.call(
                "query",
                IndexName=LISTED,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                Limit=MAX_LISTED - len(found),
                **start,
            )
            found += map(_record, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                break
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        return found

    async def revoke(self, key_id: str) -> bool:
        """Also false where it was revoked by a try whose answer was lost."""
        return await self._revoke(key_id, self._clock.now_ms())

    async def close(self) -> None:
        await self._table.close()

    async def _revoke(self, key_id: str, at_ms: int) -> bool:
        return await self._table.change(
            "update_item",
            Key=_key(key_id),
            UpdateExpression="SET revoked_at_ms = :now",
            ConditionExpression=f"attribute_exists({KEY}) AND attribute_not_exists(revoked_at_ms)",
            ExpressionAttributeValues={":now": {"N": str(at_ms)}},
        )


async def open_dynamodb_store(url: str, clock: Clock) -> DynamoDBKeyStore:
    """Raises WorldError if the URL names no table, or one that is not there or cannot be read."""
    store = DynamoDBKeyStore(await _opened(url), clock)
    try:
        await store.find(_NOBODY)
    except BaseException:
        await store.close()
        raise
    return store


async def make_table(url: str) -> list[str]:
    """The table for keys. Returns what was done, a line each. Raises WorldError."""
    table = await _opened(url)
    try:
        return await table.make()
    finally:
        await table.close()


async def _opened(url: str) -> Table:
    table = Table(parse(url))
    await table.open()
    return table


def _key(key_id: str) -> Item:
    return {KEY: {"S": key_id}}


def _place(record: KeyRecord) -> Item:
    """In the index. `#` stands before all that an account's name may have, so that names sort."""
    by = f"{record.account}#{record.created_at_ms:015d}#{record.key_id}"
    return _key(record.key_id) | {LISTED: _ALL, LISTED_BY: {"S": by}}


def _item(record: KeyRecord) -> Item:
    revoked = {} if record.revoked_at_ms is None else {"revoked_at_ms": {"N": str(record.revoked_at_ms)}}
    return (
        _place(record)
        | revoked
        | {
            "account": {"S": record.account},
            "role": {"S": record.role.value},
            "secret_sha256": {"B": record.secret_sha256},
            "created_at_ms": {"N": str(record.created_at_ms)},
        }
    )


def _record(item: Item) -> KeyRecord:
    try:
        return KeyRecord(
            key_id=item[KEY]["S"],
            account=item["account"]["S"],
            role=Role(item["role"]["S"]),
            secret_sha256=bytes(item["secret_sha256"]["B"]),
            created_at_ms=int(item["created_at_ms"]["N"]),
            revoked_at_ms=int(item["revoked_at_ms"]["N"]) if "revoked_at_ms" in item else None,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise WorldError("the table of API keys has an item that is none") from error
