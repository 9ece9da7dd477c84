"""The door of the fake: real HTTP on a free loopback port."""

from aiohttp import web

from tests.fakes.stripe.api import Api
from tests.fakes.stripe.errors import ConnectionLostError

_SHUTDOWN_S = 0.1


class Server:
    """A lost connection is really cut."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        self._api.faults.release()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            reply = await self._api.answer(request.method, request.path_qs, headers, await request.read())
        except ConnectionLostError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)  # to nobody
        return web.Response(
            status=reply.status, body=reply.body, headers=reply.headers, content_type="application/json"
        )
