"""Making the table, with all that protects it; what a server cannot do is tried and told."""

import asyncio

from gollem.errors import LedgerUnavailable
from gollem.ledger.dynamodb.client import Client
from gollem.ledger.dynamodb.items import DATED, DATED_BY, LISTED, Item

_WAIT_S = 1
_MOST_TURNS = 120
_IMAGES = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}


async def create_table(client: Client, *, stream: bool) -> list[str]:
    """What was done and what could not be, a line each. An existing table is completed; one that can never be
    a ledger's raises LedgerUnavailable.

    The stream is for exports and alerts; the ledger does not read it."""
    told = [await make(client, stream=stream)]
    table = await _wait_until_active(client)
    _require_keys(client, table)
    told += [await _add_index(client, index) for index in _missing_indexes(client, table)]
    told += await _add_stream(client, table, stream)
    told.append(await _protect(client))
    told.append(await _recover(client))
    return told


async def make(client: Client, *, stream: bool) -> str:
    """The table by itself: what was done. Raises LedgerUnavailable."""
    _, error = await client.try_once(
        "create_table",
        TableName=client.table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[_text(name) for name in ("pk", "sk", DATED, DATED_BY, LISTED)],
        KeySchema=_schema("pk", "sk"),
        GlobalSecondaryIndexes=_indexes(),
        StreamSpecification=_IMAGES if stream else {"StreamEnabled": False},
        DeletionProtectionEnabled=True,
        SSESpecification={"Enabled": True},
    )
    if error == "ResourceInUseException":
        return f"table {client.table}: was there already"
    if error:
        raise LedgerUnavailable(f"table {client.table} cannot be made: {error}")
    told = "stream of new and old images" if stream else "no stream"
    return f"table {client.table}: made, on demand, indexes {DATED} and {LISTED}, {told}"


def _schema(pk: str, sk: str) -> list[Item]:
    return [{"AttributeName": pk, "KeyType": "HASH"}, {"AttributeName": sk, "KeyType": "RANGE"}]


def _index(pk: str, sk: str) -> Item:
    return {"IndexName": pk, "KeySchema": _schema(pk, sk), "Projection": {"ProjectionType": "KEYS_ONLY"}}


def _text(name: str) -> Item:
    return {"AttributeName": name, "AttributeType": "S"}


def _indexes() -> list[Item]:
    return [_index(DATED, DATED_BY), _index(LISTED, "pk")]


def _require_keys(client: Client, table: Item) -> None:
    if _keys(table) != _keys({"KeySchema": _schema("pk", "sk")}):
        raise LedgerUnavailable(f"table {client.table} is no ledger's: its keys are not pk and sk")
    for name in ("pk", "sk"):
        if _text(name) not in table["AttributeDefinitions"]:
            raise LedgerUnavailable(f"table {client.table} is no ledger's: its key {name} is no text")


def _missing_indexes(client: Client, table: Item) -> list[Item]:
    there = {index["IndexName"]: index for index in table.get("GlobalSecondaryIndexes", ())}
    for index in _indexes():
        name = index["IndexName"]
        if name in there and _keys(there[name]) != _keys(index):
            raise LedgerUnavailable(f"table {client.table}: its index {name} has other keys: delete it, then again")
    return [index for index in _indexes() if index["IndexName"] not in there]


def _keys(schema: Item) -> dict[str, str]:
    return {key["KeyType"]: key["AttributeName"] for key in schema["KeySchema"]}


async def _add_index(client: Client, index: Item) -> str:
    """One at a time, as DynamoDB wants it."""
    change = {
        "GlobalSecondaryIndexUpdates": [{"Create": index}],
        "AttributeDefinitions": [_text(name) for name in _keys(index).values()],
    }
    _, error = await client.try_once("update_table", TableName=client.table, **change)
    if error:
        raise LedgerUnavailable(f"table {client.table}: its index {index['IndexName']} cannot be made: {error}")
    await _wait_until_active(client)
    return f"index {index['IndexName']}: was missing, made"


async def _add_stream(client: Client, table: Item, wanted: bool) -> list[str]:
    """A stream that is there already is left as it is, wanted or not."""
    has = table.get("StreamSpecification", {})
    if not wanted or has == _IMAGES:
        return []
    if has.get("StreamEnabled"):
        return [f"stream: left as it is, {has.get('StreamViewType')}"]
    _, error = await client.try_once("update_table", TableName=client.table, StreamSpecification=_IMAGES)
    if error:
        return [f"stream: not on, {error}"]
    await _wait_until_active(client)
    return ["stream: was missing, made"]


async def _wait_until_active(client: Client) -> Item:
    for _ in range(_MOST_TURNS):
        answer, error = await client.try_once("describe_table", TableName=client.table)
        table: Item = answer.get("Table", {})
        states = [
            table.get("TableStatus"),
            *(index["IndexStatus"] for index in table.get("GlobalSecondaryIndexes", ())),
        ]
        if not error and set(states) == {"ACTIVE"}:
            return table
        await asyncio.sleep(_WAIT_S)
    raise LedgerUnavailable(f"table {client.table} is not active after {_WAIT_S * _MOST_TURNS} s")


async def _protect(client: Client) -> str:
    answer, _ = await client.try_once("describe_table", TableName=client.table)
    if answer["Table"].get("DeletionProtectionEnabled"):
        return "deletion protection: on"
    _, error = await client.try_once("update_table", TableName=client.table, DeletionProtectionEnabled=True)
    return f"deletion protection: not on, {error}" if error else "deletion protection: on"


async def _recover(client: Client) -> str:
    _, error = await client.try_once(
        "update_continuous_backups",
        TableName=client.table,
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
    )
    return f"point-in-time recovery: not on, {error}" if error else "point-in-time recovery: on"
