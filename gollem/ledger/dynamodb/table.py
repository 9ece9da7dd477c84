"""Making the table, with all that protects it; what a server cannot do is tried and told."""

import asyncio

from gollem.errors import LedgerUnavailable
from gollem.ledger.dynamodb.client import Client
from gollem.ledger.dynamodb.items import DATED, DATED_BY, LISTED, Item

_WAIT_S = 1
_MOST_TURNS = 120


async def create_table(client: Client, *, stream: bool) -> list[str]:
    """What was done and what could not be, a line each. An existing table is left as it is and completed.

    The stream is for exports and alerts; the ledger does not read it."""
    told = [await _create(client, stream)]
    await _wait_until_active(client)
    told.append(await _protect(client))
    told.append(await _recover(client))
    return told


async def _create(client: Client, stream: bool) -> str:
    images = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"} if stream else {"StreamEnabled": False}
    _, error = await client.try_once(
        "create_table",
        TableName=client.table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", DATED, DATED_BY, LISTED)
        ],
        KeySchema=_schema("pk", "sk"),
        GlobalSecondaryIndexes=[_index(DATED, DATED_BY), _index(LISTED, "pk")],
        StreamSpecification=images,
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


async def _wait_until_active(client: Client) -> None:
    for _ in range(_MOST_TURNS):
        answer, error = await client.try_once("describe_table", TableName=client.table)
        table = answer.get("Table", {})
        states = [
            table.get("TableStatus"),
            *(index["IndexStatus"] for index in table.get("GlobalSecondaryIndexes", ())),
        ]
        if not error and set(states) == {"ACTIVE"}:
            return
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
