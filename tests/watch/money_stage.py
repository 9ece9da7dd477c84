"""Money before a real Prometheus: an exchange on a DynamoDB Local of its own, which may stand still, beside a fake
Stripe that speaks HTTP; and days that pass at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from grpclib.client import Channel

from gollem.app import App
from gollem.clock import DAY_MS
from gollem.config import load
from gollem.identity import open_key_store
from gollem.payments import Payments
from gollem.payments.months import month_of, month_range_ms
from gollem.payments.webhooks import PATH
from gollem.rpc.pb import admin_pb2, common_pb2, credit_pb2, payout_pb2, provider_pb2
from gollem.units import parse_fixed
from tests.fakes.clock import JumpingClock
from tests.fakes.stripe import FakeStripe
from tests.payments.benches import config_of
from tests.rpc.conftest import SETTINGS, Site, order
from tests.servers.dynamodb_local import CREDENTIALS, DynamoDBLocal, dynamodb_server, make_table
from tests.servers.prometheus import prometheus
from tests.servers.redis_server import free_port
from tests.until import until_answer
from tests.watch.alarms import Alarms, moments, quick_rules

NEVER = "3600000"
QUICK = {
    "observability.read_interval_ms": "200",
    "reconcile.quick_interval_ms": "200",
    "payments.inbox_interval_ms": "100",
    "payments.payout_interval_ms": "200",
    # What heals by itself whatever went wrong does not come round while somebody watches.
    "payments.poll_interval_ms": NEVER,
    "payments.books_interval_ms": NEVER,
    # No agent reports, and an alert may take a minute to fire and another to clear.
    "providers.withdraw_after_ms": "119000",
}
EARNED_USD = "1.90"  # of one order
SLOW_S = 0.4  # more than MatchLatencyHigh allows, less than a call of the ledger may take


class MoneyStage:
    def __init__(
        self, site: Site, settings: dict[str, str], stripe: FakeStripe, clock: JumpingClock, server: DynamoDBLocal
    ) -> None:
        """`server` keeps the ledger of the site's exchange, which runs with these settings."""
        self.site = site
        self.stripe = stripe
        self.clock = clock
        self.server = server
        self._settings = settings
        self._numbers = count()
        self._connected_ids: dict[str, str] = {}  # by provider

    @property
    def payments(self) -> Payments:
        assert self.site.app.payments is not None
        return self.site.app.payments

    async def restart(self, changes: dict[str, str] | None = None) -> None:
        """The exchange, with its settings and these changes."""
        await self.site.app.stop()
        self.site.app = App(load(overrides=self._settings | (changes or {})), self.clock)
        await self.site.app.start()

    async def tell(self) -> None:
        """What has happened at Stripe comes to the exchange's door."""
        bridge = self.site.app.bridge
        assert bridge is not None
        assert set(await self.stripe.webhooks.deliver(bridge.url + PATH)) <= {200}

    # --- what people do

    async def order_credits(self, amount_usd: str) -> str:
        """Alice's purchase, which is not paid yet. Returns its payment's id."""
        request = credit_pb2.CreatePaymentIntentRequest(purchase_id=f"buy-{next(self._numbers)}", amount_usd=amount_usd)
        await self.site.credit.CreatePaymentIntent(request, metadata=self.site.alice)
        return str(self.stripe.all("payment_intent")[-1]["id"])

    async def buy(self, amount_usd: str) -> None:
        """Alice has the credits, and the platform the money."""
        before = await self.credits()
        self.stripe.pay(await self.order_credits(amount_usd))
        await self.tell()
        await self.until_more_than(before)
        self.stripe.release_funds()

    async def credits(self) -> int:
        """Alice's, as atoms."""
        answer = await self.site.credit.Balance(credit_pb2.BalanceRequest(), metadata=self.site.alice)
        return parse_fixed(answer.available, "available")

    async def until_more_than(self, atoms: int) -> None:
        """Alice has more credits than before."""

        async def are_there() -> bool:
            return await self.credits() > atoms

        await until_answer(are_there)

    async def onboard(self, provider: str) -> str:
        """So that it may sell; once is enough. Returns its account at Stripe."""
        if provider in self._connected_ids:
            return self._connected_ids[provider]
        request = payout_pb2.StartOnboardingRequest(country="US")
        await self.site.payout.StartOnboarding(request, metadata=self._key(provider))
        connected_id = str(self.stripe.all("account")[-1]["id"])
        self.stripe.verify_account(connected_id)
        await self.tell()

        async def is_ready() -> bool:
            asked = payout_pb2.GetOnboardingRequest()
            return bool((await self.site.payout.GetOnboarding(asked, metadata=self._key(provider))).ready)

        await until_answer(is_ready)
        self._connected_ids[provider] = connected_id
        return connected_id

    async def earn(self, provider: str) -> str:
        """The provider serves one order of alice's, and EARNED_USD become payable. Returns its account at Stripe."""
        self._skip_to_quiet_days()
        connected_id = await self.onboard(provider)
        await self.site.sell(provider)
        await self.serve(provider)
        await self.stop_selling(provider)
        self.clock.jump_ms((self.site.app.config.payments.delay_days + 1) * DAY_MS)

        async def is_payable() -> bool:
            request = payout_pb2.GetEarningsRequest()
            earnings = await self.site.payout.GetEarnings(request, metadata=self._key(provider))
            return bool(earnings.payable_usd == EARNED_USD)

        await until_answer(is_payable)
        return connected_id

    async def ask_for_payout(self, provider: str) -> None:
        request = payout_pb2.RequestPayoutRequest(payout_id=f"mine-{next(self._numbers)}")
        made = await self.site.payout.RequestPayout(request, metadata=self._key(provider))
        assert (made.amount_usd, made.state) == (EARNED_USD, "initiated")

    async def cases(self, kind: str) -> list[str]:
        """Ids of those that wait for an operator."""
        request = admin_pb2.ListCasesRequest(kind=kind)
        return [case.id for case in (await self.site.admin.ListCases(request, metadata=self.site.ops)).cases]

    async def serve(self, provider: str, tokens: int = 1_000) -> None:
        """An order of alice's of so many tokens either way, which only this provider offers to serve."""
        bought = order(f"order-{next(self._numbers)}", prompt_tokens=tokens, max_tokens=tokens)
        matched = await self.site.market.Match(bought, metadata=self.site.alice)
        assert matched.offer.provider_id == provider
        settled = provider_pb2.SettleRequest(
            provider_id=provider,
            order_id=bought.order_id,
            usage=common_pb2.Usage(prompt_tokens=tokens, completion_tokens=tokens),
            outcome=provider_pb2.SettleRequest.COMPLETED,
        )
        await self.site.provider.Settle(settled, metadata=self._key(provider))

    async def serve_slowly(self, provider: str, tokens: int) -> None:
        """The same, while the ledger takes its time. This wait is not for anything: it is what is slow."""
        self.server.freeze()
        serving = asyncio.create_task(self.serve(provider, tokens))
        try:
            await asyncio.sleep(SLOW_S)
        finally:
            self.server.thaw()
            await serving

    async def stop_selling(self, provider: str) -> None:
        request = provider_pb2.DeregisterRequest(provider_id=provider, ask_id="a")
        await self.site.provider.Deregister(request, metadata=self._key(provider))

    # --- inside

    def _skip_to_quiet_days(self) -> None:
        """The third of next month: the month's own payouts, of its first day, are over, and the next ones are weeks
        away."""
        now_ms = self.clock.now_ms()
        self.clock.jump_ms(month_range_ms(month_of(now_ms), "month")[1] + 2 * DAY_MS - now_ms)

    def _key(self, provider: str) -> dict[str, str]:
        return {"p1": self.site.p1, "p2": self.site.p2}[provider]


@asynccontextmanager
async def money_stage(folder: Path) -> AsyncIterator[MoneyStage]:
    clock, data = JumpingClock(), folder / "data"
    stripe = FakeStripe(clock)
    await stripe.start()
    with dynamodb_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        payments = config_of(stripe)
        told = ("gateway", "stripe_key", "stripe_url", "webhook_secrets", "connect_secrets")
        settings = (
            SETTINGS
            | QUICK
            | {f"payments.{name}": getattr(payments, name) for name in told}
            | {
                "server.port": str(free_port()),
                "server.metrics_port": str(free_port()),
                "storage.data": str(data),
                "storage.ledger": await make_table(folder, server.endpoint),
            }
        )
        app = App(load(overrides=settings), clock)
        await app.start()
        channel, keys = Channel("127.0.0.1", app.port), await open_key_store(data)
        site = Site(app, channel, keys)
        await site.connect()
        yield MoneyStage(site, settings, stripe, clock, server)
        channel.close()
        await keys.close()
        await site.app.stop()
    await stripe.stop()


@asynccontextmanager
async def watched(stage: MoneyStage) -> AsyncIterator[Alarms]:
    """By a Prometheus that has all figures of it."""
    with prometheus({"gollem": [f"127.0.0.1:{stage.site.app.metrics_port}"]}, quick_rules(moments)) as server:

        async def is_scraped() -> bool:
            return bool(await asyncio.to_thread(server.query, "gollem_float_credits"))

        await until_answer(is_scraped)
        yield Alarms(server)
