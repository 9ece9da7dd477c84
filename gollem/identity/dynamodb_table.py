"""The table of API keys on DynamoDB, and the only file of this room that imports the vendor: calls, errors, making it.

Whatever is asked may be asked again, so the vendor's own retries do. Every failure is WorldError.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import lru_cache
from typing import Any

import aioboto3
from aiobotocore.config import AioConfig
from aiohttp import ClientError as ConnectionFault
from botocore.exceptions import BotoCoreError, ClientError

from gollem.dynamodb_url import Address, address_of
from gollem.errors import WorldError

Item = dict[str, Any]  # attribute -> {type: value}, as DynamoDB's own protocol has it

KEY = "key_id"
LISTED, LISTED_BY = "listed", "listed_by"  # the index, named as its partition key, and what orders it
_CONNECTIONS = 32
_CALL_TIMEOUT_S = 5
_TRIES = 3
_MAKING_TIMEOUT_S = 120


def parse(url: str) -> Address:
    """`dynamodb://table?region=eu-west-1&endpoint=http://127.0.0.1:8000`. Raises WorldError."""
    address = address_of(url)
    if address is None:
        raise WorldError(f"storage.keys: {url!r} is no table: such as dynamodb://gollem-keys?region=eu-west-1")
    return address


class Table:
    """Opened once a process, on the event loop that uses it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._stack = AsyncExitStack()
        self._vendor: Any = None

    def __repr__(self) -> str:
        return f"Table({self._address.table!r}, {self._address.endpoint!r})"

    async def open(self) -> None:
        config = AioConfig(
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            connect_timeout=1,
            read_timeout=_CALL_TIMEOUT_S,
        )
        with self._mapped():
            session = _session(self._address.region)
            opening = session.client("dynamodb", config=config, **self._address.connection)
            self._vendor = await self._stack.enter_async_context(opening)

    async def close(self) -> None:
        """Idempotent."""
        self._vendor = None
        await self._stack.aclose()

    async def call(self, operation: str, **arguments: Any) -> Item:
        """One call, of bounded time. Raises WorldError."""
        with self._mapped():
            return await self._call(operation, arguments)

    async def change(self, operation: str, **arguments: Any) -> bool:
        """A conditional write: whether its condition held. Raises WorldError."""
        with self._mapped():
            try:
                await self._call(operation, arguments)
            except ClientError as error:
                if _code(error) != "ConditionalCheckFailedException":
                    raise
                return False
        return True

    async def make(self) -> list[str]:
        """The table itself; one that is there is left as it is. What was done, a line each. Raises WorldError."""
        with self._mapped():
            told = [await self._make()]
            async with asyncio.timeout(_MAKING_TIMEOUT_S):
                waiter = self._vendor.get_waiter("table_exists")
                await waiter.wait(TableName=self._address.table, WaiterConfig={"Delay": 1})
            told.append(await self._recover())
        return told

    async def _make(self) -> str:
        try:
            await self._call("create_table", _DESCRIPTION)
        except ClientError as error:
            if _code(error) != "ResourceInUseException":
                raise
            return f"table {self._address.table}: was there already"
        return f"table {self._address.table}: made, on demand, encrypted, protected from deletion"

    async def _recover(self) -> str:
        try:
            await self._call("update_continuous_backups", {"PointInTimeRecoverySpecification": _RECOVERY})
        except ClientError as error:
            return f"point-in-time recovery: not on, {_code(error)}"
        return "point-in-time recovery: on"

    async def _call(self, operation: str, arguments: Item) -> Item:
        if self._vendor is None:
            raise WorldError(f"the API keys in table {self._address.table} are closed")
        async with asyncio.timeout(_CALL_TIMEOUT_S):
            answer: Item = await getattr(self._vendor, operation)(TableName=self._address.table, **arguments)
        return answer

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        table = self._address.table
        try:
            yield
        except ClientError as error:
            if _code(error) == "ResourceNotFoundException":
                raise WorldError(f"table {table} of API keys is not there: `gollem keys table` makes it") from error
            raise WorldError(f"the API keys in table {table} cannot be reached: {_code(error)}") from error
        except (BotoCoreError, ConnectionFault, TimeoutError, OSError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise WorldError(f"the API keys in table {table} cannot be reached: {why}") from error


_RECOVERY = {"PointInTimeRecoveryEnabled": True}
_DESCRIPTION = {
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in (KEY, LISTED, LISTED_BY)],
    "KeySchema": [{"AttributeName": KEY, "KeyType": "HASH"}],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": LISTED,
            "KeySchema": [
                {"AttributeName": LISTED, "KeyType": "HASH"},
                {"AttributeName": LISTED_BY, "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
    "DeletionProtectionEnabled": True,
    "SSESpecification": {"Enabled": True},
}


@lru_cache(maxsize=4)
def _session(region: str) -> Any:
    """One a process and region: to read the service's description takes a tenth of a second."""
    return aioboto3.Session(region_name=region or None)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
