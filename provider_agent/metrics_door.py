"""The agent's metrics and health over HTTP: `/metrics`, `/healthz`, `/readyz`. Reads only."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from provider_agent.metrics import CONTENT_TYPE, AgentMetrics

MAX_CONNECTIONS = 16
CONNECTION_S = 15.0


class MetricsDoor:
    def __init__(self, metrics: AgentMetrics, is_ready: Callable[[], bool], host: str, port: int) -> None:
        """`port` 0 takes a free one."""
        self._metrics = metrics
        self._is_ready = is_ready
        self._place = host, port
        app = web.Application(client_max_size=1_024)
        routes = {"/metrics": self._tell, "/healthz": self._healthz, "/readyz": self._readyz}
        app.add_routes([web.get(path, handler) for path, handler in routes.items()])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Once started."""
        assert self._listener is not None, "not started"
        return int(self._listener.sockets[0].getsockname()[1])

    async def __aenter__(self) -> "MetricsDoor":
        """Listen. Raises OSError."""
        await self._runner.setup()
        try:
            self._listener = await asyncio.get_running_loop().create_server(self._connection, *self._place)
        except BaseException:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
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

    async def _tell(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        ready = self._is_ready()
        return web.Response(text="ready\n" if ready else "not selling\n", status=200 if ready else 503)


class _TurnedAway(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()
