"""The one door for HTTP: webhooks of the payment provider, and health. Thin: it stores and answers.

Anybody can knock here, so that whatever comes in is bounded (size, time, number), one request a connection, and nothing
that was sent is ever logged or told back.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler

from gollem.errors import CallerError, OtherMode, WorldError
from gollem.payments.inbox import Inbox

_log = logging.getLogger(__name__)
MAX_BODY_BYTES = 256 * 1024
MAX_CONNECTIONS = 256
MAX_AT_ONCE = 64
REQUEST_S = 10.0
CONNECTION_S = 15.0  # from the first byte to the last: who sends a header a minute is cut off
DRAIN_S = 5.0


class WebhookBridge:
    """`port` 0 takes a free one. `extra_routes` are the pages of a payment gateway for development."""

    def __init__(self, inbox: Inbox, host: str, port: int, extra_routes: Iterable[web.AbstractRouteDef] = ()) -> None:
        self._inbox = inbox
        self._host = host
        self._wanted_port = port
        self.counts: Counter[str] = Counter()  # webhooks, by the answer
        self._at_once = 0
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_one_request])
        app.add_routes(
            [
                web.post("/webhooks/stripe", self._webhook),
                web.get("/healthz", self._healthz),
                *extra_routes,
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=DRAIN_S)
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

    # --- routes -----------------------------------------------------------------------------------------------------

    async def _webhook(self, request: web.Request) -> web.Response:
        """2xx once the event is stored. 400 tells nothing; after 503 the payment provider tries again."""
        try:
            async with asyncio.timeout(REQUEST_S):
                return await self._receive(await request.read(), request.headers.get("Stripe-Signature", ""))
        except web.HTTPRequestEntityTooLarge:
            return self._answer("too_large", 413)
        except TimeoutError:
            return self._answer("late", 503)

    async def _receive(self, raw: bytes, signature: str) -> web.Response:
        if self._at_once >= MAX_AT_ONCE:
            return self._answer("busy", 503)
        self._at_once += 1
        try:
            is_new = await self._inbox.receive(raw, signature)
        except OtherMode:  # a live endpoint of connected accounts is told of test money too: that is no error there
            return self._answer("other_mode", 200)
        except CallerError as error:
            _log.warning("a webhook was refused: %s", error.reason)
            return self._answer("refused", 400)
        except WorldError as error:
            _log.warning("a webhook could not be stored: %s", error.reason)
            return self._answer("unavailable", 503)
        except Exception:
            _log.exception("a webhook broke")
            return self._answer("broken", 500)
        finally:
            self._at_once -= 1
        return self._answer("stored" if is_new else "known", 200)

    def _answer(self, outcome: str, status: int) -> web.Response:
        self.counts[outcome] += 1
        return web.Response(status=status)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")


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
