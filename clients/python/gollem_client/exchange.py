"""Calls to the exchange: authenticated, bounded, repeated where a repetition is safe."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

import betterproto

from gollem_client import wire
from gollem_client.channels import ChannelPool, parse_address
from gollem_client.errors import ExchangeUnavailable, GollemError, OutcomeUnknown, invalid
from gollem_client.timeouts import Timeouts
from gollem_client.tracing import traced
from gollem_client.wire import Answer, Request

_ATTEMPTS = 3
_FIRST_PAUSE_S = 0.05


class Exchange:
    """One exchange, called with one API key. Every call of the API may be repeated: a replay is the first answer."""

    def __init__(self, address: str, api_key: str, pool: ChannelPool, timeouts: Timeouts) -> None:
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise invalid("api_key", "must be printable ASCII without spaces")
        self._address = parse_address(address)
        self._pool = pool
        self._timeouts = timeouts
        self._key = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._peer = f"the exchange at {address}"

    @property
    def _metadata(self) -> dict[str, str]:
        return traced(self._key)

    def __repr__(self) -> str:
        return f"<{self._peer}>"

    async def call(
        self, method: str, request: betterproto.Message, answer_type: type[Answer], *, extra_ms: int = 0
    ) -> Answer:
        """Call `method` ("MarketService/Match"), at most three times while connections fail. Raises GollemError.

        `extra_ms` is added to the time-out of a call that may rest at the exchange.
        """
        doubtful = False
        for attempt in range(_ATTEMPTS):
            try:
                return await self._once(method, request, answer_type, extra_ms)
            except (ExchangeUnavailable, OutcomeUnknown) as error:
                doubtful |= isinstance(error, OutcomeUnknown)
                failure: GollemError = error
            if attempt + 1 < _ATTEMPTS:
                await asyncio.sleep(_FIRST_PAUSE_S * 4**attempt * random.uniform(0.5, 1.0))  # noqa: S311
        # A later attempt that never left does not tell what became of an earlier one that did.
        if doubtful and not isinstance(failure, OutcomeUnknown):
            raise OutcomeUnknown(failure.message) from failure
        raise failure

    async def _once(
        self, method: str, request: betterproto.Message, answer_type: type[Answer], extra_ms: int
    ) -> Answer:
        timeout_s = (self._timeouts.call_ms + extra_ms) / 1_000
        with wire.own_errors(self._peer), self._pool.lease(self._address) as channel:
            return await wire.unary(channel, f"/gollem.v1.{method}", request, answer_type, self._metadata, timeout_s)

    async def stream(
        self, method: str, request: betterproto.Message, answer_type: type[Answer]
    ) -> AsyncGenerator[Answer, None]:
        """The answers of a streaming `method`; never repeated. Raises GollemError."""
        with wire.own_errors(self._peer), self._pool.lease(self._address) as channel:
            route = f"/gollem.v1.{method}"
            async with aclosing(wire.server_stream(channel, route, request, answer_type, self._metadata)) as answers:
                async for answer in answers:
                    yield answer

    async def converse(
        self, method: str, requests: "asyncio.Queue[Request]", answer_type: type[Answer]
    ) -> AsyncGenerator[Answer, None]:
        """Send what is put into `requests`, give the answers as they come. Raises GollemError, at its end too."""
        with wire.own_errors(self._peer), self._pool.lease(self._address) as channel:
            route = f"/gollem.v1.{method}"
            first = await requests.get()
            async with aclosing(
                wire.both_ways(channel, route, first, requests, answer_type, self._metadata)
            ) as answers:
                async for answer in answers:
                    yield answer
        raise OutcomeUnknown(f"{self._peer} has ended the stream")
