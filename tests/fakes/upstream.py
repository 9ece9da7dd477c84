"""A model server on a real socket that speaks OpenAI's chat completions and misbehaves when told to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

# Steps of a script beside texts and raw lines.
HANG = object()
DIE = object()
END = object()


class FakeUpstream:
    """Streams `script`: a str is a token, bytes go out as they are, HANG waits for ever, DIE cuts the connection."""

    def __init__(self) -> None:
        self.script: list[Any] = ["Hel", "lo", "!"]
        # HTTP status of the answer; anything but 200 ends it there.
        self.status = 200
        # Sent as usage in the last event; None: the server tells none.
        self.usage: dict[str, int] | None = {"prompt_tokens": 7, "completion_tokens": 3}
        self.finish_reason = "stop"
        # "llama.cpp", "vllm" or "": which methods there are for counting tokens.
        self.kind = "llama.cpp"
        self.prompt_tokens = 7
        # Answers 503 to everything but /models, as llama.cpp does while it loads the model.
        self.loading = False
        # Before the first byte.
        self.hold: asyncio.Event | None = None
        # What /models lists.
        self.models = ["m"]
        # What /metrics says; None: there is none.
        self.metrics: str | None = None
        self.bodies: list[dict[str, Any]] = []
        self.asked = asyncio.Event()
        self.looked = asyncio.Event()
        self.left = asyncio.Event()
        self.proceed = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    async def start(self) -> None:
        """Listen; after a stop, on the same port again."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._list)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/apply-template", self._template)
        app.router.add_post("/tokenize", self._tokenize)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": model} for model in self.models]})

    async def _health(self, request: web.Request) -> web.Response:
        self.looked.set()
        return web.Response(status=(503 if self.loading else 200) if self.kind else 404)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(status=404) if self.metrics is None else web.Response(text=self.metrics)

    async def _template(self, request: web.Request) -> web.Response:
        if self.loading:
            return web.Response(status=503)
        return web.json_response({"prompt": "templated"}) if self.kind == "llama.cpp" else web.Response(status=404)

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.kind == "llama.cpp" and body.get("content") == "templated":
            return web.json_response({"tokens": list(range(self.prompt_tokens))})
        if self.kind == "vllm" and body.get("messages"):
            return web.json_response({"count": self.prompt_tokens, "tokens": []})
        return web.Response(status=404)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.asked.set()
        try:
            if self.hold is not None:
                await self.hold.wait()
            if self.status != 200:
                return web.Response(status=self.status)
            return await self._stream(request)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": keep-alive\n\n")
        for step in self.script:
            if step is HANG:
                await self.proceed.wait()
            elif step is DIE:
                assert request.transport is not None
                request.transport.abort()
                return response
            elif step is END:
                return response
            elif isinstance(step, bytes):
                await response.write(step)
            else:
                await response.write(_event({"choices": [{"index": 0, "delta": {"content": step}}]}))
        await response.write(_event({"choices": [{"delta": {}, "finish_reason": self.finish_reason}]}))
        if self.usage is not None:
            await response.write(_event({"choices": [], "usage": self.usage}))
        await response.write(b"data: [DONE]\n\n")
        return response


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


@asynccontextmanager
async def fake_upstream() -> AsyncIterator[FakeUpstream]:
    """One that listens."""
    upstream = FakeUpstream()
    await upstream.start()
    yield upstream
    await upstream.stop()
