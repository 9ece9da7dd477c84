"""A guarded server, and the same service behind grpclib alone, to show what the guard is for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop
from grpclib.server import Server

from grpclib_guard import GuardedServer, Limits
from tests.until import WITHIN_S

from .raw import RawClient
from .service import Probe


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
async def serve(probe: Probe) -> AsyncIterator[Callable[..., Any]]:
    """Starts guarded servers: `await serve(max_streams=3)`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, ssl: Any = None, on_request: Any = None, **limits: int) -> GuardedServer:
            server = GuardedServer([probe], limits=Limits(**limits), on_request=on_request)
            await server.start("127.0.0.1", 0, ssl=ssl)
            stack.push_async_callback(server.drain, 0)
            return server

        yield start


@pytest.fixture
async def plain(probe: Probe) -> AsyncIterator[int]:
    """The port of the same service behind grpclib as it is."""
    server = Server([probe])
    await server.start("127.0.0.1", 0)
    assert server._server is not None
    yield server._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    server.close()
    probe.release.set()
    await server.wait_closed()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """Raw clients: `await connect(port)`."""
    clients: list[RawClient] = []

    async def start(port: int, **options: Any) -> RawClient:
        clients.append(await RawClient.connect(port, **options))
        return clients[-1]

    yield start
    for client in clients:
        await client.close()


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Waits until a condition holds: `await eventually(lambda: server.connections == 0)`."""

    async def wait(holds: Callable[[], bool], patience_s: float = WITHIN_S) -> None:
        async with asyncio.timeout(patience_s):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    return wait


def pytest_asyncio_loop_factories(config: object, item: object) -> dict[str, Callable[[], Any]]:
    """Servers run under uvloop, whose transports differ from asyncio's in what they do when they are closed."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
