"""A small HTTP server for whoever has routes to offer: it only bounds them.

Anybody can knock here, so that whatever comes in is bounded (size, time, number), one request a connection, and nothing
that was sent is ever logged.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.typedefs import Handler

log = logging.getLogger("gollem.http")
# aiohttp logs what it cannot read as an error, with some of it: anybody could fill the log, and put secrets there.
log.addFilter(lambda record: not isinstance((record.exc_info or (None, None))[1], HttpProcessingError))


@dataclass(frozen=True, slots=True)
class Limits:
    """`connection_s` is from the first byte to the last: who sends a header a minute is cut off."""

    body_bytes: int
    connections: int
    connection_s: float
    drain_s: float


class BoundedHttp:
    """`port` 0 takes a free one."""

    def __init__(self, routes: Iterable[web.AbstractRouteDef], host: str, port: int, limits: Limits) -> None:
        self._host = host
        self._wanted_port = port
        self._limits = limits
        app = web.Application(client_max_size=limits.body_bytes, middlewares=[_one_request])
        app.add_routes(routes)
        self._runner = web.AppRunner(app, shutdown_timeout=limits.drain_s)
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Once started."""
        assert self._listener is not None, "not started"
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._runner.server.connections) if self._runner.server else 0

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
        """Answer those who wait, then close. Idempotent."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    def _connection(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None or self.connections >= self._limits.connections:
            return _TurnedAway()
        loop = asyncio.get_running_loop()
        # Without a log of who asked what.
        connection = _Connection(server, loop=loop, logger=log, access_log=None, auto_decompress=False)  # type: ignore[arg-type]
        loop.call_later(self._limits.connection_s, connection.force_close)
        return connection


class _Connection(web.RequestHandler):
    """aiohttp itself repeats what it refuses, which may be a secret: here it only says what is wrong."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        answer = super().handle_error(request, status, exc, message)
        if isinstance(exc, LineTooLong):
            return _refusal(431, 8, "TOO_LARGE", "the address or a header is too large")
        if isinstance(exc, HttpProcessingError):
            return _refusal(400, 3, "INVALID_MESSAGE", "the request cannot be read as HTTP")
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if resp.status == 417:
            resp = _refusal(417, 3, "INVALID_MESSAGE", "nothing may be expected but 100-continue")
        return await super().finish_response(request, resp, start_time)


def _refusal(status: int, code: int, reason: str, message: str) -> web.Response:
    """As google.rpc.Status with an ErrorInfo. Ends the connection."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "gollem"}
    answer = web.json_response({"code": code, "message": message, "details": [info]}, status=status)
    answer.force_close()
    return answer


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
        if request.match_info.http_exception is not None:  # nobody's
            return _refusal(refusal.status, 5, "NO_SUCH_ROUTE", "there is no such route, or not with this method")
        refusal.force_close()
        raise
    except ConnectionResetError:
        if request.transport is not None:
            raise
        return web.Response(status=499)  # the caller hung up while it was read: no error of ours, and nobody hears it
    response.force_close()
    return response
