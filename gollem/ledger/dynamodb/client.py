"""The one client of the process, and the only file that knows the vendor: what to call again, and what an error means.

botocore's own retries are off. A write is called again with the same token, so that DynamoDB itself answers the repeat
of a write whose reply was lost; each call has a token of its own, so that a second caller is never told that the first
one's write was his.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import uuid4

import aioboto3
from aiobotocore.config import AioConfig
from aiohttp import ClientError as ConnectionFault
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
)

from gollem.clock import Clock, SystemClock
from gollem.dynamodb_url import Address
from gollem.errors import InvariantBroken, LedgerUnavailable, OutcomeUnknown
from gollem.ledger.dynamodb.items import Item

MAX_CONNECTIONS = 64
_REFUSED = "ConditionalCheckFailed"
# Certain that nothing was written, and likely to pass.
_PASSING = {
    "TransactionConflict",
    "ThrottlingError",
    "ThrottlingException",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "TransactionConflictException",
}
# An attempt before, of the same token, may have written or be about to.
_UNDER_WAY = {"TransactionInProgressException", "IdempotentParameterMismatchException"}
_BUGS = {"ValidationException", "ValidationError", "ItemCollectionSizeLimitExceeded", "SerializationException"}
_NEVER_SENT = (ConnectTimeoutError, EndpointConnectionError)
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError)
_LOST = (BotoCoreError, ConnectionFault, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and for how long, one call is made again; waits are random up to a bound that doubles."""

    attempts: int = 10
    first_wait_ms: int = 25
    longest_wait_ms: int = 1_000
    budget_ms: int = 15_000


@dataclass(frozen=True, slots=True)
class Written:
    """What a write came to: the places of refused conditions, none if it was written. `may_be_under_way`: an attempt
    before was lost on its way, and may still be written after all."""

    refused: frozenset[int]
    may_be_under_way: bool = False


@dataclass(slots=True)
class _Attempts:
    """What has become of one call so far."""

    started_ms: int
    made: int = 0
    may_be_written: bool = False


class _ConditionFailed(Exception):
    """Of an update alone: never seen outside of this file."""


class Client:
    """Opened once a process, on the event loop that uses it."""

    def __init__(
        self, address: Address, retries: Retries | None = None, clock: Clock | None = None, read_timeout_s: float = 5
    ) -> None:
        self.table = address.table
        self._address = address
        self._retries = retries or Retries()
        self._clock = clock or SystemClock()
        self._read_timeout_s = read_timeout_s
        self._chance = random.Random()  # noqa: S311  spreads waits, keeps no secret
        self._stack = AsyncExitStack()
        self._gate = asyncio.Semaphore(MAX_CONNECTIONS)
        self._vendor: Any = None

    def __repr__(self) -> str:
        return f"Client({self._address.table!r}, {self._address.endpoint!r})"

    @property
    def budget_ms(self) -> int:
        """How long one call is made again."""
        return self._retries.budget_ms

    @property
    def events(self) -> Any:
        """botocore's own hooks: for tests, and for metrics."""
        return self._vendor.meta.events

    async def open(self) -> None:
        config = AioConfig(
            max_pool_connections=MAX_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=1,
            read_timeout=self._read_timeout_s,
            parameter_validation=False,
        )
        try:
            session = _session(self._address.region)
            opening = session.client("dynamodb", config=config, **self._address.connection)
            self._vendor = await self._stack.enter_async_context(opening)
        except (BotoCoreError, ValueError) as error:
            raise LedgerUnavailable(f"no client for {self._address}: {error}") from error

    async def close(self) -> None:
        await self._stack.aclose()

    async def write(self, writes: list[Item], entries: frozenset[int]) -> Written:
        """All of TransactWriteItems or nothing.

        `entries` are the places whose refusal decides at once, whatever else happened: the key is known already.
        Raises LedgerUnavailable (nothing was written), OutcomeUnknown, InvariantBroken."""
        arguments = {"TransactItems": writes, "ClientRequestToken": _token()}
        attempts = _Attempts(self._clock.monotonic_ms())
        while True:
            try:
                await self._call("transact_write_items", arguments)
            except ClientError as error:
                refused = _refused_places(error, entries)
                if refused:
                    return Written(refused, attempts.may_be_written)
                code = self._require_passing(error, attempts)
                if code == "IdempotentParameterMismatchException":
                    arguments["ClientRequestToken"] = _token()
                last: Exception = error
            except _LOST as error:
                self._require_credentials(error, attempts)
                attempts.may_be_written |= not isinstance(error, _NEVER_SENT)
                last = error
            else:
                return Written(frozenset())
            await self._wait(attempts, last)

    async def read(self, operation: str, **arguments: Any) -> Item:
        """One call that changes nothing; `TableName` is ours. Raises LedgerUnavailable, InvariantBroken."""
        arguments["TableName"] = self.table
        return await self.ask(operation, arguments)

    async def ask(self, operation: str, arguments: Item) -> Item:
        """As `read`, for calls that name the table themselves."""
        attempts = _Attempts(self._clock.monotonic_ms())
        while True:
            try:
                return await self._call(operation, arguments)
            except ClientError as error:
                self._require_passing(error, attempts)
                last: Exception = error
            except _LOST as error:
                self._require_credentials(error, attempts)
                last = error
            attempts.may_be_written = False
            await self._wait(attempts, last)

    async def update(self, **arguments: Any) -> bool:
        """One UpdateItem, which must be such that it may be made twice: whether its condition held."""
        try:
            await self.read("update_item", **arguments)
        except _ConditionFailed:
            return False
        return True

    async def try_once(self, operation: str, **arguments: Any) -> tuple[Item, str]:
        """For making the table: the answer, or the error's code."""
        try:
            return await self._call(operation, arguments), ""
        except ClientError as error:
            return {}, _code(error)
        except _LOST as error:
            raise LedgerUnavailable(f"{self._address} does not answer: {error}") from error

    async def _call(self, operation: str, arguments: Item) -> Item:
        call: Callable[..., Awaitable[Item]] = getattr(self._vendor, operation)
        async with self._gate:
            return await call(**arguments)

    async def _wait(self, attempts: _Attempts, last: Exception) -> None:
        """Full jitter; raises when the budget is spent."""
        attempts.made += 1
        bound_ms = min(self._retries.first_wait_ms << attempts.made, self._retries.longest_wait_ms)
        spent_ms = self._clock.monotonic_ms() - attempts.started_ms
        if attempts.made < self._retries.attempts and spent_ms + bound_ms < self._retries.budget_ms:
            await asyncio.sleep(self._chance.uniform(0, bound_ms) / 1_000)
            return
        raise _failure(attempts, f"the ledger gave no answer in {attempts.made} attempts: {last}") from last

    def _require_passing(self, error: ClientError, attempts: _Attempts) -> str:
        """The code of an error that may pass. Raises for one that stays."""
        code, reasons = _code(error), _reasons(error)
        if code == "ConditionalCheckFailedException":
            raise _ConditionFailed(code) from error
        if code in _BUGS or _BUGS.intersection(reasons):
            raise InvariantBroken(f"DynamoDB refuses the request: {error}") from error
        if code in _PASSING or _PASSING.intersection(reasons):
            return code
        if code in _UNDER_WAY or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500) >= 500:
            attempts.may_be_written = True
            return code
        if code == "ResourceNotFoundException":
            raise _failure(attempts, f"{self._address} is not there: `gollem ledger create` makes it") from error
        raise _failure(attempts, f"the ledger refuses: {error}") from error

    def _require_credentials(self, error: Exception, attempts: _Attempts) -> None:
        if isinstance(error, _NO_CREDENTIALS):
            raise _failure(attempts, f"no credentials for {self._address}: {error}") from error


@lru_cache(maxsize=4)
def _session(region: str) -> Any:
    """One a process and region: to read the service's description takes a tenth of a second."""
    return aioboto3.Session(region_name=region or None)


def _failure(attempts: _Attempts, message: str) -> LedgerUnavailable | OutcomeUnknown:
    """Whatever ends a call: that nothing was written is said only where no attempt can have written."""
    if attempts.may_be_written:
        return OutcomeUnknown(f"{message}; an attempt before may have been written")
    return LedgerUnavailable(message)


def _token() -> str:
    return uuid4().hex


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _reasons(error: ClientError) -> list[str]:
    """Of a cancelled transaction, one a write."""
    return [str(reason.get("Code")) for reason in error.response.get("CancellationReasons", ())]


def _refused_places(error: ClientError, entries: frozenset[int]) -> frozenset[int]:
    """The places that decide: known keys before all, other conditions only if nothing is in passing."""
    reasons = _reasons(error)
    refused = frozenset(place for place, code in enumerate(reasons) if code == _REFUSED)
    if refused & entries:
        return refused & entries
    return frozenset() if _PASSING.intersection(reasons) else refused
