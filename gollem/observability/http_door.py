"""Metrics and health over HTTP, for those who watch: `/metrics`, `/healthz`, `/readyz`. Reads only, bounded throughout.

It is open before anything else is, and closed after everything else, so that a start and a drain can be watched.
"""

from dataclasses import asdict

from aiohttp import web

from gollem.bounded_http import BoundedHttp, Limits
from gollem.clock import Clock
from gollem.observability.meters import CONTENT_TYPE, Meters
from gollem.observability.readiness import Readiness

MAX_BODY_BYTES = 1_024
MAX_CONNECTIONS = 64
CONNECTION_S = 15.0
KEPT_MS = 500  # the same text answers whoever asks again so soon: reading it all costs milliseconds
DRAIN_S = 1.0


class HttpDoor:
    """`port` 0 takes a free one."""

    def __init__(self, meters: Meters, readiness: Readiness, clock: Clock, host: str, port: int) -> None:
        self._meters = meters
        self._readiness = readiness
        self._clock = clock
        self._text, self._text_ms = b"", -KEPT_MS
        handlers = {"/metrics": self._metrics, "/healthz": self._healthz, "/readyz": self._readyz}
        routes = [web.get(path, handler) for path, handler in handlers.items()]
        limits = Limits(MAX_BODY_BYTES, MAX_CONNECTIONS, CONNECTION_S, DRAIN_S)
        self._http = BoundedHttp(routes, host, port, limits)

    @property
    def port(self) -> int:
        """Once started."""
        return self._http.port

    async def start(self) -> None:
        """Listen. Raises OSError."""
        await self._http.start()

    async def stop(self) -> None:
        """Idempotent."""
        await self._http.stop()

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
