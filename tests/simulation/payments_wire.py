"""The way to Stripe in virtual time: the same fake without its socket, the real gateway without its sockets."""

import asyncio
from collections.abc import Mapping
from typing import Any

import stripe as vendor

from gollem.config import PaymentsConfig
from gollem.payments.stripe_gateway import StripeGateway
from tests.fakes.stripe import FakeStripe, Fault
from tests.fakes.stripe.errors import ConnectionLostError
from tests.simulation.world import EPOCH_MS, World, run_now

PAYOUT_CENTS = 500  # paid out by themselves
_URL = "https://stripe.simulated"
_READS = (Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.RATE_LIMITED)
_WRITES = (*_READS, Fault.ERROR_BEFORE, Fault.ERROR_AFTER)


class LeapingClock:
    """Everybody's: virtual time, and the days that are leaped over."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._leaped_ms = 0

    def now_ms(self) -> int:
        return EPOCH_MS + self.monotonic_ms()

    def monotonic_ms(self) -> int:
        return self._leaped_ms + int(self._world.loop.time() * 1_000)

    def leap(self, by_ms: int) -> None:
        self._world.note("leap", by_ms, "ms")
        self._leaped_ms += by_ms


class Wire(vendor.HTTPClient):
    """Requests take their time, and are done though their sender crashes."""

    name = "simulated"

    def __init__(self, world: World, fake: FakeStripe) -> None:
        super().__init__()
        self._world = world
        self._fake = fake

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        answer: asyncio.Future[tuple[bytes, int, Mapping[str, str]] | None] = self._world.loop.create_future()
        self._world.loop.outside(self._world.hop_s(), self._carry_out, answer, method, url, headers, post_data)
        reply = await answer
        if reply is None:
            raise vendor.APIConnectionError("the connection broke")
        return reply

    async def close_async(self) -> None:
        """There is nothing to close."""

    def _carry_out(
        self, answer: asyncio.Future[Any], method: str, url: str, headers: Mapping[str, str], post_data: Any
    ) -> None:
        small = {name.lower(): value for name, value in headers.items()}
        target, body = url.removeprefix(_URL), (post_data or "").encode()
        told = None
        try:
            reply = run_now(self._fake.api.answer(method.upper(), target, small, body))
            told = (reply.body, reply.status, dict(reply.headers))
        except ConnectionLostError:
            pass
        self._world.note("stripe", method, target.partition("?")[0], told[1] if told else "lost")
        self._world.loop.outside(self._world.hop_s(), self._give, answer, told)

    def _give(self, answer: asyncio.Future[Any], told: Any) -> None:
        if not answer.done():
            answer.set_result(told)


def throw_faults(world: World, fake: FakeStripe) -> None:
    """Each request may meet one, as the weather is."""

    def dice(route: str) -> Fault | None:
        if not world.chance(world.weather.lost):
            return None
        return world.dice.choice(_WRITES if route.startswith("POST") else _READS)

    fake.faults.dice = dice


def config_of(fake: FakeStripe) -> PaymentsConfig:
    return PaymentsConfig(
        gateway="stripe",
        stripe_key=fake.secret_key,
        stripe_url=_URL,
        webhook_secrets=",".join(fake.webhooks.platform_secrets),
        connect_secrets=",".join(fake.webhooks.connect_secrets),
        delay_days=1,
        payout_cents=PAYOUT_CENTS,
    )


def gateway_over(wire: Wire, fake: FakeStripe, clock: LeapingClock) -> StripeGateway:
    """The real one, its client spoken to over this wire."""
    gateway = StripeGateway(config_of(fake), clock)
    client = vendor.StripeClient(fake.secret_key, http_client=wire, max_network_retries=0, base_addresses={"api": _URL})
    gateway._http, gateway._stripe = wire, client.v1  # type: ignore[assignment]
    return gateway
