"""The fake's webhooks over real HTTP, as the gateway reads them: signed, twice, out of order, never, and forged."""

from collections.abc import AsyncIterator
from random import Random

import pytest
from aiohttp import web

from gollem.errors import Forbidden, Unauthenticated
from gollem.payments.stripe_gateway import StripeGateway
from gollem.payments.types import Agreement, Event, PaymentOrder
from tests.fakes.clock import FakeClock
from tests.fakes.stripe import FakeStripe

TOLERANCE_S = 300


class Endpoint:
    """Notes what the gateway believes; answers 400 to the rest, and 503 while it is down."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._gateway = gateway
        self._runner: web.AppRunner | None = None
        self.events: list[Event] = []
        self.is_down = False
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/", self._receive)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        if self.is_down:
            return web.Response(status=503)
        try:
            event = self._gateway.read_event(await request.read(), request.headers["Stripe-Signature"])
        except (Forbidden, Unauthenticated):
            return web.Response(status=400)
        self.events.append(event)
        return web.Response()


@pytest.fixture
async def endpoint(gateway: StripeGateway) -> AsyncIterator[Endpoint]:
    opened = Endpoint(gateway)
    await opened.start()
    yield opened
    await opened.stop()


@pytest.fixture
async def payment_id(gateway: StripeGateway, stripe: FakeStripe) -> str:
    """One that is paid."""
    made = await gateway.create_payment(PaymentOrder("buy-1", 1_000), "key")
    stripe.pay(made.payment.payment_id)
    return made.payment.payment_id


TOLD = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]


async def test_every_event_is_told_in_order(stripe: FakeStripe, endpoint: Endpoint, payment_id: str) -> None:
    assert await stripe.webhooks.deliver(endpoint.url) == [200, 200, 200]
    assert [event.type for event in endpoint.events] == TOLD
    assert endpoint.events[-1].object_id == payment_id
    assert await stripe.webhooks.deliver(endpoint.url) == []


async def test_events_are_told_twice(stripe: FakeStripe, endpoint: Endpoint, payment_id: str) -> None:
    await stripe.webhooks.deliver(endpoint.url, duplicate=1)
    assert [event.type for event in endpoint.events] == [kind for kind in TOLD for _ in range(2)]
    assert len({event.event_id for event in endpoint.events}) == 3


async def test_events_are_told_out_of_order(stripe: FakeStripe, endpoint: Endpoint, payment_id: str) -> None:
    await stripe.webhooks.deliver(endpoint.url, reorder=True, rng=Random(3))
    assert [event.type for event in endpoint.events] != TOLD
    assert sorted(event.type for event in endpoint.events) == sorted(TOLD)


async def test_events_that_are_never_told_are_listed(
    stripe: FakeStripe, gateway: StripeGateway, endpoint: Endpoint, payment_id: str
) -> None:
    assert await stripe.webhooks.deliver(endpoint.url, drop=1) == []
    assert (endpoint.events, stripe.webhooks.pending) == ([], [])
    assert [event.type for event in (await gateway.events_since(0)).items] == TOLD[::-1]


async def test_an_endpoint_that_is_down_is_told_later(stripe: FakeStripe, endpoint: Endpoint, payment_id: str) -> None:
    endpoint.is_down = True
    assert await stripe.webhooks.deliver(endpoint.url, duplicate=1) == [503] * 6
    endpoint.is_down = False
    assert await stripe.webhooks.deliver(endpoint.url) == [200, 200, 200]
    assert [event.type for event in endpoint.events] == TOLD


async def test_an_endpoint_that_is_not_there_is_told_later(stripe: FakeStripe, payment_id: str) -> None:
    assert await stripe.webhooks.deliver("http://127.0.0.1:9/") == [0, 0, 0]
    assert len(stripe.webhooks.pending) == 3


async def test_events_of_connected_accounts_have_their_own_secret(
    stripe: FakeStripe, gateway: StripeGateway, endpoint: Endpoint
) -> None:
    account = await gateway.create_account("seller", "US", Agreement.FULL, "key")
    stripe.webhooks.take()
    stripe.verify_account(account.connected_id)
    stripe.webhooks.platform_secrets = ["whsec_not_used_here"]
    assert await stripe.webhooks.deliver(endpoint.url) == [200]
    (event,) = endpoint.events
    assert (event.type, event.connected_id) == ("account.updated", account.connected_id)
    assert (await gateway.events_since(0)).items == []


async def test_the_balance_has_no_id(stripe: FakeStripe, endpoint: Endpoint, payment_id: str) -> None:
    stripe.release_funds()
    await stripe.webhooks.deliver(endpoint.url)
    assert (endpoint.events[-1].type, endpoint.events[-1].object_id) == ("balance.available", "")


async def test_while_a_secret_is_rotated_either_is_enough(
    stripe: FakeStripe, endpoint: Endpoint, payment_id: str
) -> None:
    stripe.webhooks.platform_secrets.append("whsec_the_next")
    assert await stripe.webhooks.deliver(endpoint.url) == [200, 200, 200]
    stripe.pay_out_by_hand(0)
    stripe.webhooks.platform_secrets = ["whsec_the_next"]
    assert await stripe.webhooks.deliver(endpoint.url) == [400]


async def test_a_forged_event_is_not_believed(stripe: FakeStripe, gateway: StripeGateway, clock: FakeClock) -> None:
    thing = {"id": "pi_forged", "object": "payment_intent", "metadata": {}}
    with pytest.raises(Unauthenticated):
        gateway.read_event(*stripe.webhooks.forge("payment_intent.succeeded", thing))
    (secret,) = stripe.webhooks.platform_secrets
    now_s = clock.now_ms() // 1000
    for at_s in (now_s - TOLERANCE_S - 1, now_s + TOLERANCE_S + 1):
        with pytest.raises(Unauthenticated):
            gateway.read_event(*stripe.webhooks.forge("payment_intent.succeeded", thing, secret=secret, at_s=at_s))
    with pytest.raises(Forbidden):
        gateway.read_event(*stripe.webhooks.forge("payment_intent.succeeded", thing, secret=secret, livemode=True))
    with pytest.raises(Forbidden):
        gateway.read_event(*stripe.webhooks.forge("payout.paid", thing, secret=secret, account="acct_1"))
    event = gateway.read_event(*stripe.webhooks.forge("payment_intent.succeeded", thing, secret=secret))
    assert event.object_id == "pi_forged"
