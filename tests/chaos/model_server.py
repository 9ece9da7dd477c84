"""One process's worth of model servers: a path a provider, a few tokens an answer, and a witness of what was served."""

import asyncio
import json
from collections import Counter
from typing import Any

from aiohttp import web

MODEL = "gpt-3"
PROMPT_TOKENS = 8


class ModelServer:
    """`served` counts how often each order was begun, by the order id that is its prompt; `most_at_once` says how many
    one provider ever served together."""

    def __init__(self, tokens: int, answer_s: float) -> None:
        self._tokens = tokens
        self._pause_s = answer_s / tokens
        self._running: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None
        self._port = 0
        self.most_at_once = 0
        self.served: Counter[str] = Counter()

    def url(self, provider: str) -> str:
        return f"http://127.0.0.1:{self._port}/{provider}/v1"

    async def __aenter__(self) -> "ModelServer":
        app = web.Application()
        app.router.add_post("/{provider}/v1/chat/completions", self._complete)
        app.router.add_get("/{provider}/v1/models", self._models)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": MODEL}]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        provider, body = request.match_info["provider"], await request.json()
        self.served[body["messages"][-1]["content"]] += 1
        self._running[provider] += 1
        self.most_at_once = max(self.most_at_once, self._running[provider])
        try:
            return await self._answer(request)
        finally:
            self._running[provider] -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for number in range(self._tokens):
            await response.write(_event({"choices": [{"index": 0, "delta": {"content": f"{number} "}}]}))
            await asyncio.sleep(self._pause_s)
        await response.write(_event({"choices": [{"delta": {}, "finish_reason": "stop"}]}))
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": self._tokens}
        await response.write(_event({"choices": [], "usage": usage}))
        await response.write(b"data: [DONE]\n\n")
        return response


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"
