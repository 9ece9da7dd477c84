"""A small HTTP server for whoever has routes to offer. It only bounds them; a proxy stands between it and the world.

Anybody can knock here, so that whatever comes in is bounded (size, time, number), one request a connection, and nothing
that was sent is ever logged or told back.
"""

import asyncio
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler

from gollem.config import BridgeConfig, ConfigError

MAX_BODY_BYTES = 256 * 1024
MAX_CONNECTIONS = 256
CONNECTION_S = 15.0  # from the first byte to the last: who sends a header a minute is cut off
DRAIN_S = 5.0


class Bridge:
    """Serves `routes` at the address configured; port 0 takes a free one."""

    def __init__(self, config: BridgeConfig, routes: Iterable[web.AbstractRouteDef]) -> None:
        self._config = config
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_one_request])
        app.add_routes([web.get("/healthz", _healthz), *routes])
        self._runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=DRAIN_S)
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Once started."""
        assert self._listener is not None, "not started"
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it, once started."""
        return f"http://{_reachable(self._config.host)}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises ConfigError if that cannot be."""
        host, port = self._config.host, self._config.port
        await self._runner.setup()
        try:
            self._listener = await asyncio.get_running_loop().create_server(self._connection, host, port)
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"bridge.port: cannot listen on {host}:{port} ({error.strerror or error}): name another with "
                "--set bridge.port=N, and bridge.host"
            ) from error
        except BaseException:
            await self._runner.cleanup()
            raise

    async def stop(self) -> None:
        """Answer those who wait, then close. Idempotent."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    def _connection(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None or len(server.connections) >= MAX_CONNECTIONS:
            return _TurnedAway()
        connection = server()
        asyncio.get_running_loop().call_later(CONNECTION_S, connection.force_close)
        return connection


class _TurnedAway(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


@web.middleware
async def _one_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A connection: then its time is bounded by that of one request."""
    try:
        response = await handler(request)
    except web.HTTPException as refusal:  # an answer too
        refusal.force_close()
        raise
    response.force_close()
    return response


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _reachable(host: str) -> str:
    """Who listens everywhere is also here."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - nothing listens here
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
