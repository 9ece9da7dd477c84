"""Payment providers that the contract of `PaymentGateway` is tried on, with what people do at each."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiohttp
import pytest
import stripe as vendor
from aiohttp import web

from gollem.clock import Clock, SystemClock
from gollem.config import PaymentsConfig
from gollem.payments.gateway import PaymentGateway
from gollem.payments.local_gateway import LocalGateway
from gollem.payments.stripe_gateway import StripeGateway
from gollem.payments.types import Agreement, Payment, PaymentOrder, PaymentStatus
from tests.fakes.stripe import FakeStripe

T = TypeVar("T")
AVAILABLE_CARD = "pm_card_bypassPending"  # its money is available at once
DECLINED_CARD = "pm_card_visa_chargeDeclined"
DISPUTED_CARD = "pm_card_createDispute"
SANDBOX_KEY = "GOLLEM_TEST_STRIPE_KEY"
SANDBOX_ACCOUNT = "GOLLEM_TEST_STRIPE_ACCOUNT"
CENTS = 2_500  # of a purchase
_SKEW_MS = 60_000


class Bench(Protocol):
    """A payment provider and its people. `since_ms` is before anything that a test does."""

    since_ms: int

    @property
    def gateway(self) -> PaymentGateway: ...

    async def close(self) -> None: ...

    def named(self, name: str) -> str:
        """An id of ours that nobody has used there."""

    async def pay(self, payment_id: str, card: str = AVAILABLE_CARD) -> None:
        """Somebody pays, or tries to: a card that is declined is no error of ours."""

    async def payee(self) -> str:
        """A connected account that can be paid."""

    async def eventually(self, ask: Callable[[], Awaitable[T | None]]) -> T:
        """What is there, once the payment provider has got on with it."""


def config_of(fake: FakeStripe, **more: Any) -> PaymentsConfig:
    """With the keys, the address and the secrets of the fake."""
    return PaymentsConfig(
        gateway="stripe",
        stripe_key=fake.secret_key,
        stripe_url=fake.url,
        webhook_secrets=",".join(fake.webhooks.platform_secrets),
        connect_secrets=",".join(fake.webhooks.connect_secrets),
        **more,
    )


class StripeBench:
    """Stripe, or its fake: who pays confirms the payment over the API, with one of Stripe's test cards."""

    _looks = 1

    def __init__(self, config: PaymentsConfig, clock: Clock) -> None:
        self._gateway = StripeGateway(config, clock)
        self.since_ms = clock.now_ms() - _SKEW_MS
        self._run = secrets.token_hex(4)
        self._http = vendor.AIOHTTPClient(timeout=30)
        self._client = vendor.StripeClient(
            config.stripe_key,
            http_client=self._http,
            base_addresses={"api": config.stripe_url} if config.stripe_url else {},
        )

    @property
    def gateway(self) -> PaymentGateway:
        return self._gateway

    async def close(self) -> None:
        await self._gateway.close()
        await self._http.close_async()  # type: ignore[no-untyped-call]

    def named(self, name: str) -> str:
        return f"{name}-{self._run}"

    async def pay(self, payment_id: str, card: str = AVAILABLE_CARD) -> None:
        try:
            await self._client.v1.payment_intents.confirm_async(
                payment_id, {"payment_method": card, "return_url": "https://example.com/"}
            )
        except vendor.CardError:
            return

    async def eventually(self, ask: Callable[[], Awaitable[T | None]]) -> T:
        for look in range(self._looks):
            found = await ask()
            if found is not None:
                return found
            if look + 1 < self._looks:
                await asyncio.sleep(1)
        raise AssertionError("it did not come about")


class FakeBench(StripeBench):
    def __init__(self, clock: Clock, fake: FakeStripe) -> None:
        super().__init__(config_of(fake), clock)
        self._fake = fake

    async def close(self) -> None:
        await super().close()
        await self._fake.stop()

    async def payee(self) -> str:
        account = await self.gateway.create_account(self.named("payee"), "US", Agreement.FULL, self.named("payee"))
        self._fake.verify_account(account.connected_id)
        return account.connected_id


class SandboxBench(StripeBench):
    """Stripe's own. Nobody can complete an account over the API, so one that is complete is named by the
    environment."""

    _looks = 60

    def __init__(self) -> None:
        config = PaymentsConfig(
            gateway="stripe",
            stripe_key=os.environ[SANDBOX_KEY],
            webhook_secrets="whsec_of_the_tests",
            connect_secrets="whsec_of_the_tests_connect",
        )
        super().__init__(config, SystemClock())
        assert not self.gateway.livemode, "tests never touch real money"

    async def payee(self) -> str:
        if SANDBOX_ACCOUNT not in os.environ:
            pytest.skip(f"{SANDBOX_ACCOUNT} names no account that can be paid")
        return os.environ[SANDBOX_ACCOUNT]


class LocalBench:
    """The gateway for development, whose people use its pages over HTTP. What it tells is taken, and thrown away."""

    def __init__(self, clock: Clock) -> None:
        self.since_ms = clock.now_ms() - _SKEW_MS
        self._folder = tempfile.TemporaryDirectory()
        self._gateway = LocalGateway(Path(self._folder.name, "local.db"), clock)
        app = web.Application()
        app.add_routes([*self._gateway.routes(), web.post("/webhooks/stripe", _taken)])
        self._runner = web.AppRunner(app)

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._gateway.tell(f"http://127.0.0.1:{self._runner.addresses[0][1]}")

    @property
    def gateway(self) -> PaymentGateway:
        return self._gateway

    async def close(self) -> None:
        await self._gateway.close()
        await self._runner.cleanup()
        self._folder.cleanup()

    def named(self, name: str) -> str:
        return name

    async def pay(self, payment_id: str, card: str = AVAILABLE_CARD) -> None:
        """There are no cards: somebody presses a button."""
        assert card == AVAILABLE_CARD
        found = self._gateway.to_pay(payment_id)
        assert found is not None
        await self.visit("POST", f"http://127.0.0.1:{self._runner.addresses[0][1]}/local/pay", found[1])

    async def payee(self) -> str:
        account = await self.gateway.create_account("payee", "US", Agreement.FULL, "payee")
        await self.visit("GET", await self.gateway.onboarding_url(account.connected_id, "https://example.com/"))
        return account.connected_id

    async def eventually(self, ask: Callable[[], Awaitable[T | None]]) -> T:
        found = await ask()
        assert found is not None
        return found

    async def visit(self, method: str, url: str, client_secret: str = "") -> None:
        body = {"client_secret": client_secret} if client_secret else None
        async with aiohttp.request(method, url, json=body) as answer:
            assert answer.status == 200


async def _taken(_request: web.Request) -> web.Response:
    return web.Response()


async def ordered(bench: Bench, name: str = "buy", cents: int = CENTS) -> str:
    purchase_id = bench.named(name)
    return (await bench.gateway.create_payment(PaymentOrder(purchase_id, cents), purchase_id)).payment.payment_id


async def paid(bench: Bench, name: str = "buy", cents: int = CENTS) -> Payment:
    payment_id = await ordered(bench, name, cents)
    await bench.pay(payment_id)
    payment = await bench.gateway.payment(payment_id)
    assert payment is not None
    assert payment.status is PaymentStatus.SUCCEEDED
    return payment


async def open_fake(clock: Clock) -> Bench:
    fake = FakeStripe(clock)
    await fake.start()
    return FakeBench(clock, fake)


async def open_local(clock: Clock) -> Bench:
    bench = LocalBench(clock)
    await bench.start()
    return bench


async def open_sandbox(clock: Clock) -> Bench:
    """Which has a clock of its own."""
    return SandboxBench()


# By name: how to open one for a test. Cards can be declined, and their payments disputed.
CARD_BENCHES: dict[str, Callable[[Clock], Awaitable[Bench]]] = {"fake": open_fake}
if SANDBOX_KEY in os.environ:
    CARD_BENCHES["sandbox"] = open_sandbox
BENCHES = CARD_BENCHES | {"local": open_local}
