"""Stripe's client without a network, for tests whose time is not real: its requests go straight to the fake."""

from collections.abc import Mapping

import aiohttp
import stripe as vendor

from tests.fakes.stripe.api import Api
from tests.fakes.stripe.errors import ConnectionLostError


class InProcessClient(vendor.HTTPClient):
    """Wherever the URL points."""

    name = "in-process"

    def __init__(self, api: Api) -> None:
        super().__init__()
        self._api = api

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        target = url.partition("://")[2]
        lowered = {name.lower(): value for name, value in headers.items()}
        try:
            reply = await self._api.answer(
                method.upper(), "/" + target.partition("/")[2], lowered, (post_data or "").encode()
            )
        except ConnectionLostError:
            lost = vendor.APIConnectionError("the connection is lost")  # type: ignore[no-untyped-call]
            raise lost from aiohttp.ServerDisconnectedError()
        return reply.body, reply.status, reply.headers

    async def close_async(self) -> None:
        """Nothing is open."""
