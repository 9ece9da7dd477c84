"""The HTTP server of webhooks and pages; a proxy stands between it and the world."""

from collections.abc import Iterable

from aiohttp import web

from gollem.bounded_http import BoundedHttp, Limits
from gollem.config import BridgeConfig, ConfigError

MAX_BODY_BYTES = 256 * 1024
MAX_CONNECTIONS = 256
CONNECTION_S = 15.0
DRAIN_S = 5.0


class Bridge:
    """Serves `routes` at the address configured; port 0 takes a free one."""

    def __init__(self, config: BridgeConfig, routes: Iterable[web.AbstractRouteDef]) -> None:
        self._config = config
        limits = Limits(MAX_BODY_BYTES, MAX_CONNECTIONS, CONNECTION_S, DRAIN_S)
        self._http = BoundedHttp([web.get("/healthz", _healthz), *routes], config.host, config.port, limits)

    @property
    def port(self) -> int:
        """Once started."""
        return self._http.port

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it, once started."""
        return f"http://{_reachable(self._config.host)}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises ConfigError if that cannot be."""
        host, port = self._config.host, self._config.port
        try:
            await self._http.start()
        except OSError as error:
            raise ConfigError(
                f"bridge.port: cannot listen on {host}:{port} ({error.strerror or error}): name another with "
                "--set bridge.port=N, and bridge.host"
            ) from error

    async def stop(self) -> None:
        """Answer those who wait, then close. Idempotent."""
        await self._http.stop()


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _reachable(host: str) -> str:
    """Who listens everywhere is also here."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - nothing listens here
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
