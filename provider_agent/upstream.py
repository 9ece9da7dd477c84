"""Talks to the model server over HTTP. Every wait is bounded; leaving a generation closes its connection."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp

from provider_agent.completions import DONE, Delta, model_names, parse_event, request_body
from provider_agent.pb.inference_pb2 import GenerateRequest
from provider_agent.sse import SseParser

_MAX_ANSWER_BYTES = 64 << 20
# /health says this while a model is being loaded; /models may list it all the same.
_LOADING = 503
_NO_SUCH_METHOD = frozenset({400, 404, 405, 422, 501})


class UpstreamFailed(Exception):
    """The model server cannot be reached, answers an error, breaks off or falls silent."""


@dataclass(frozen=True, slots=True)
class UpstreamTimeouts:
    """Milliseconds."""

    connect_ms: int = 5_000
    # The answer's first event: a long prompt takes its time.
    first_byte_ms: int = 120_000
    # Between two events.
    idle_ms: int = 60_000
    # Counting the tokens of a prompt.
    count_ms: int = 10_000
    # Between two looks at whether the server is there.
    watch_ms: int = 2_000


class Upstream:
    """An OpenAI-compatible server at `url`, which usually ends in /v1. Use it as `async with`."""

    def __init__(self, url: str, model: str, timeouts: UpstreamTimeouts | None = None, api_key: str = "") -> None:
        self.model = model
        self._url = url.rstrip("/")
        # llama.cpp and vLLM have their own methods beside /v1, not under it.
        self._root = self._url.removesuffix("/v1")
        self._timeouts = timeouts or UpstreamTimeouts()
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Upstream":
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect_ms / 1_000)
        # The agent's own slots bound what is open; a limit here would only make requests wait unseen.
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers, connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def generate(self, request: GenerateRequest, max_tokens: int) -> AsyncGenerator[Delta, None]:
        """What the model server says, as it says it, up to its last event. Raises UpstreamFailed."""
        ended = False
        async with aclosing(self._events(request_body(self.model, request, max_tokens))) as events:
            while (data := await self._next(events)) is not None:
                if data == DONE:
                    ended = True
                    break
                delta = _parsed(data)
                ended = ended or bool(delta.finish_reason)
                yield delta
        if not ended:
            raise UpstreamFailed("the stream broke off")

    async def models(self) -> list[str]:
        """The models that it lists, perhaps none. Raises UpstreamFailed while it cannot take work."""
        try:
            async with asyncio.timeout(self._timeouts.count_ms / 1_000):
                health, _ = await self._get(f"{self._root}/health")
                status, listed = await self._get(f"{self._url}/models")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamFailed(_told(error)) from error
        if health == _LOADING:
            raise UpstreamFailed("it is still loading its model")
        if 200 not in (health, status):
            raise UpstreamFailed(f"/models: HTTP status {status}")
        return model_names(listed)

    async def metrics(self, most_bytes: int) -> str:
        """Its own, in Prometheus's text format. Raises UpstreamFailed, also for more than that."""
        assert self._session is not None
        try:
            async with asyncio.timeout(self._timeouts.count_ms / 1_000):
                async with self._session.get(f"{self._root}/metrics") as response:
                    response.raise_for_status()
                    text = b""
                    async for piece in response.content.iter_any():
                        text += piece
                        if len(text) > most_bytes:
                            raise UpstreamFailed("/metrics: an answer too long")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamFailed(f"/metrics: {_told(error)}") from error
        return text.decode(errors="replace")

    async def _get(self, url: str) -> tuple[int, Any]:
        """The status, and the JSON where there is any."""
        assert self._session is not None
        async with self._session.get(url) as response:
            try:
                return response.status, await response.json(content_type=None)
            except ValueError:
                return response.status, None

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """What a method beside /v1 answers, as JSON; None where there is no such method. Raises UpstreamFailed."""
        assert self._session is not None
        try:
            async with asyncio.timeout(self._timeouts.count_ms / 1_000):
                async with self._session.post(self._root + path, json=body) as response:
                    if response.status in _NO_SUCH_METHOD:
                        return None
                    # A server that is still loading its model has the method, though not now.
                    response.raise_for_status()
                    return await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise UpstreamFailed(f"{path}: {_told(error)}") from error

    async def _next(self, events: AsyncGenerator[str, None]) -> str | None:
        try:
            return await anext(events, None)
        except TimeoutError:
            raise UpstreamFailed("no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UpstreamFailed(_told(error)) from error

    async def _events(self, body: dict[str, Any]) -> AsyncGenerator[str, None]:
        """The data of each event. Raises what aiohttp, time-outs and the parser raise."""
        assert self._session is not None
        parser, size = SseParser(), 0
        call = self._session.post(f"{self._url}/chat/completions", json=body)
        async with asyncio.timeout(self._timeouts.first_byte_ms / 1_000):
            response = await call
        async with response:
            if response.status != 200:
                raise UpstreamFailed(f"HTTP status {response.status}")
            wait_ms = self._timeouts.first_byte_ms
            while piece := await self._piece(response, wait_ms):
                wait_ms = self._timeouts.idle_ms
                size += len(piece)
                if size > _MAX_ANSWER_BYTES:
                    raise UpstreamFailed("an answer without end")
                for data in parser.feed(piece):
                    yield data

    @staticmethod
    async def _piece(response: aiohttp.ClientResponse, wait_ms: int) -> bytes:
        async with asyncio.timeout(wait_ms / 1_000):
            return await response.content.readany()


def _parsed(data: str) -> Delta:
    try:
        return parse_event(data)
    except ValueError as error:
        raise UpstreamFailed(str(error)) from None


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
