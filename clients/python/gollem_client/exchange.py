"""Calls to the exchange: authenticated, bounded, repeated where a repetition is safe."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

import betterproto

from gollem_client import wire
from gollem_client.channels import ChannelPool
from gollem_client.errors import ExchangeUnavailable, GollemError, NoFeasibleAsk, OutcomeUnknown, invalid
from gollem_client.places import Place, Places
from gollem_client.timeouts import Timeouts
from gollem_client.wire import Answer, Request

_ATTEMPTS = 3  # at one place; at several, each may be tried once more
_PAUSES_S = (0.05, 0.2)  # before the second attempt, and before all later ones


class Exchange:
    """One exchange, called with one API key. Every call of the API may be repeated: a replay is the first answer.

    `address` may name several places with commas between them: nodes over one book. One that cannot be reached, breaks
    off, does not answer in time or says that it cannot serve now is left for the next.
    """

    def __init__(self, address: str, api_key: str, pool: ChannelPool, timeouts: Timeouts) -> None:
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise invalid("api_key", "must be printable ASCII without spaces")
        self._places = Places(address)
        self._pool = pool
        self._timeouts = timeouts
        self._metadata = {"authorization": f"Bearer {api_key}"} if api_key else {}

    def __repr__(self) -> str:
        return f"<{_peer(self._places.current)}>"

    @property
    def place(self) -> str:
        """The address that is called now, as it was given."""
        return self._places.current.name

    async def call(
        self, method: str, request: betterproto.Message, answer_type: type[Answer], *, extra_ms: int = 0
    ) -> Answer:
        """Call `method` ("MarketService/Match"), a few times while connections fail. Raises GollemError.

        `extra_ms` is added to the time-out of a call that may rest at the exchange.
        """
        doubtful = False
        attempts = _ATTEMPTS + len(self._places) - 1
        for attempt in range(attempts):
            place = self._places.current
            try:
                return await self._once(place, method, request, answer_type, self._timeout_s(attempt, extra_ms))
            except (ExchangeUnavailable, OutcomeUnknown) as error:
                self._places.leave(place)
                doubtful |= isinstance(error, OutcomeUnknown)
                failure: GollemError = error
            except NoFeasibleAsk as error:
                if not doubtful or len(self._places) == 1:
                    raise
                # Another node may be about to commit this order: then it is found there a moment later.
                failure = OutcomeUnknown(f"another node may have matched it, and {_peer(place)} says: {error.message}")
            if attempt + 1 < attempts:
                await asyncio.sleep(_PAUSES_S[min(attempt, 1)] * random.uniform(0.5, 1.0))  # noqa: S311
        # A later attempt that never left does not tell what became of an earlier one that did.
        if doubtful and not isinstance(failure, OutcomeUnknown):
            raise OutcomeUnknown(failure.message) from failure
        raise failure

    def _timeout_s(self, attempt: int, extra_ms: int) -> float:
        """Where there is another place to turn to, the first waits less: it may have stopped without a word. Later ones
        have all the time there is, so that an exchange that is only slow is not asked more and more."""
        timeouts = self._timeouts
        hasty = attempt == 0 and len(self._places) > 1
        return ((min(timeouts.turn_ms, timeouts.call_ms) if hasty else timeouts.call_ms) + extra_ms) / 1_000

    async def _once(
        self, place: Place, method: str, request: betterproto.Message, answer_type: type[Answer], timeout_s: float
    ) -> Answer:
        with wire.own_errors(_peer(place)), self._pool.lease(place.address) as channel:
            return await wire.unary(channel, f"/gollem.v1.{method}", request, answer_type, self._metadata, timeout_s)

    async def stream(
        self, method: str, request: betterproto.Message, answer_type: type[Answer]
    ) -> AsyncGenerator[Answer, None]:
        """The answers of a streaming `method`; once begun, never repeated. Raises GollemError."""
        for others in reversed(range(len(self._places))):
            place, begun = self._places.current, False
            try:
                async with aclosing(self._stream_at(place, method, request, answer_type)) as answers:
                    async for answer in answers:
                        begun = True
                        yield answer
                return
            except (ExchangeUnavailable, OutcomeUnknown) as error:
                self._places.leave(place)
                if begun or not others or isinstance(error, OutcomeUnknown):
                    raise

    async def _stream_at(
        self, place: Place, method: str, request: betterproto.Message, answer_type: type[Answer]
    ) -> AsyncGenerator[Answer, None]:
        with wire.own_errors(_peer(place)), self._pool.lease(place.address) as channel:
            route = f"/gollem.v1.{method}"
            async with aclosing(wire.server_stream(channel, route, request, answer_type, self._metadata)) as answers:
                async for answer in answers:
                    yield answer

    async def converse(
        self, method: str, requests: "asyncio.Queue[Request]", answer_type: type[Answer], silence_ms: int
    ) -> AsyncGenerator[Answer, None]:
        """Send what is put into `requests`, give the answers as they come. Raises GollemError, at its end too, and when
        none comes for `silence_ms`; then the next conversation is with the next place."""
        first = await requests.get()
        place = self._places.current
        try:
            with wire.own_errors(_peer(place)), self._pool.lease(place.address) as channel:
                route = f"/gollem.v1.{method}"
                talk = wire.both_ways(channel, route, first, requests, answer_type, self._metadata)
                async with aclosing(talk) as answers:
                    while True:
                        async with asyncio.timeout(silence_ms / 1_000):
                            answer = await anext(answers, None)
                        if answer is None:
                            break
                        yield answer
            raise OutcomeUnknown(f"{_peer(place)} has ended the stream")
        except GollemError:
            self._places.leave(place)
            raise


def _peer(place: Place) -> str:
    return f"the exchange at {place.name}"
