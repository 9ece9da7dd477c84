"""Metrics and health over HTTP, for those who watch: `/metrics`, `/healthz`, `/readyz`. Reads only, bounded throughout.

It is open before anything else is, and closed after everything else, so that a start and a drain can be watched.
"""

import asyncio
from dataclasses import asdict

from aiohttp import web
from aiohttp.typedefs import Handler

from gollem.clock import Clock
from gollem.observability.meters import CONTENT_TYPE, Meters
from gollem.observability.readiness import Readiness

MAX_CONNECTIONS = 64
CONNECTION_S = 15.0  # from the first byte to the last
KEPT_MS = 500  # the same text answers whoever asks again so soon: reading it all costs milliseconds
DRAIN_S = 1.0


class HttpDoor:
    """`port` 0 takes a free one."""

    def __init__(self, meters: Meters, readiness: Readiness, clock: Clock, host: str, port: int) -> None:
        self._meters = meters
        self._readiness = readiness
        self._clock = clock
        self._host = host
        self._wanted_port = port
        self._text, self._text_ms = b"", -KEPT_MS
        app = web.Application(client_max_size=1_024, middlewares=[_one_request])
        routes = {"/metrics": self._metrics, "/healthz": self._healthz, "/readyz": self._readyz}
        app.add_routes([web.get(path, handler) for path, handler in routes.items()])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN_S)
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Once started."""
        assert self._listener is not None, "not started"
        return int(self._listener.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen. Raises OSError."""
        await self._runner.setup()
        try:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(self._connection, self._host, self._wanted_port)
        except BaseException:
            await self._runner.cleanup()
            raise

    async def stop(self) -> None:
        """Idempotent."""
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

    async def _metrics(self, _request: web.Request) -> web.Response:
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._text_ms >= KEPT_MS:
            self._text, self._text_ms = self._meters.render(), now_ms
        return web.Response(body=self._text, headers={"Content-Type": CONTENT_TYPE})

    async def _healthz(self, _request: web.Request) -> web.Response:
        """The event loop turns: that is all a restart could mend."""
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        answer = await self._readiness.look()
        return web.json_response(asdict(answer), status=200 if answer.ready else 503)


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
