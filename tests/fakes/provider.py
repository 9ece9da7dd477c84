"""A provider on a real socket that plays a script instead of a model."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from grpclib import GRPCError
from grpclib.server import Server

from gollem.rpc.pb.common_pb2 import Chunk, Usage
from gollem.rpc.pb.inference_grpc import InferenceServiceBase
from gollem.rpc.pb.inference_pb2 import GenerateRequest, GenerateResponse
from tests.fakes.exchange import FakeExchange

# Steps of a script beside texts, chunks and errors.
HANG = object()
BREAK = object()
END_SILENTLY = object()
# Until `proceed` is set: a reset that overtakes what is not yet read takes it away.
WAIT = object()


class FakeProvider(InferenceServiceBase):
    """Streams `script`: a str or Chunk is sent, a GRPCError raised; HANG waits for ever, BREAK resets the stream."""

    def __init__(self, provider_id: str, exchange: FakeExchange | None = None) -> None:
        self.provider_id = provider_id
        self.script: list[Any] = ["Hel", "lo", "!"]
        # Scripts for the first calls; `script` is for the rest.
        self.scripts: list[list[Any]] = []
        self.requests: list[GenerateRequest] = []
        self.asked = asyncio.Event()
        self.sent = 0
        self.stopped = asyncio.Event()
        self.proceed = asyncio.Event()
        self._exchange = exchange
        self._server = Server([self])
        self.endpoint = ""

    async def start(self) -> None:
        await self._server.start("127.0.0.1", 0)
        assert self._server._server is not None
        self.endpoint = f"127.0.0.1:{self._server._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def Generate(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.requests.append(request)
        self.asked.set()
        script = self.scripts.pop(0) if self.scripts else self.script
        try:
            for step in script:
                if await self._play(stream, step):
                    return
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        usage = Usage(prompt_tokens=5, completion_tokens=len(script))
        await stream.send_message(GenerateResponse(chunk=Chunk(finish_reason="stop", usage=usage)))

    async def _play(self, stream: Any, step: Any) -> bool:
        """Whether the script is over."""
        if callable(step):
            step = step()
        if isinstance(step, GRPCError):
            raise step
        if step is WAIT:
            await self.proceed.wait()
            return False
        if step is HANG:
            await asyncio.Event().wait()
        if step is BREAK:
            await stream.cancel()
        if step is BREAK or step is END_SILENTLY:
            return True
        chunk = Chunk(text=step) if isinstance(step, str) else step
        await stream.send_message(GenerateResponse(chunk=chunk))
        self.sent += 1
        return False


# Starts a provider of that id and price, and puts its ask into the book.
AddProvider = Callable[..., Awaitable[FakeProvider]]
