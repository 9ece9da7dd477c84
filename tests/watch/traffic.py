"""A small market that never rests: two providers that report, bids that match, rest and are refused, credits bought."""

import asyncio
from contextlib import suppress
from itertools import count
from typing import Any
from urllib.parse import urljoin

import aiohttp
from grpclib.exceptions import GRPCError, StreamTerminatedError

from gollem.rpc.pb import common_pb2, credit_pb2, market_pb2, provider_pb2
from tests.rpc.conftest import Site, order

PAUSE_S = 0.1
PROVIDERS = ("p1", "p2")


class Traffic:
    """`silent` providers do not report."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.silent: set[str] = set()
        self._numbers = count()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.site.fund(amount="1000000")
        for provider in PROVIDERS:
            await self.site.sell(provider, max_requests_per_minute=100_000)
        self._tasks = [asyncio.create_task(work) for work in (self._report(), self._bid(), self._rest(), self._buy())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def match(self, **changes: Any) -> tuple[str, str]:
        """A new order, and whose it is."""
        order_id = f"o{next(self._numbers)}"
        matched = await self.site.market.Match(order(order_id, **changes), metadata=self.site.alice)
        return order_id, matched.offer.provider_id

    async def settle(self, order_id: str, provider: str) -> None:
        request = provider_pb2.SettleRequest(
            provider_id=provider,
            order_id=order_id,
            usage=common_pb2.Usage(prompt_tokens=50, completion_tokens=50),
            outcome=provider_pb2.SettleRequest.COMPLETED,
        )
        await self.site.provider.Settle(request, metadata=getattr(self.site, provider))

    async def fail(self, order_id: str) -> None:
        """Its consumer says that nothing came."""
        outcome = market_pb2.ReportRequest.FAILED_BEFORE_FIRST_CHUNK
        request = market_pb2.ReportRequest(order_id=order_id, outcome=outcome)
        await self.site.market.Report(request, metadata=self.site.alice)

    async def buy(self) -> None:
        """Credits for five dollars; the payment provider's webhook comes by itself."""
        request = credit_pb2.CreatePaymentIntentRequest(purchase_id=f"buy-{next(self._numbers)}", amount_usd="5.00")
        made = await self.site.credit.CreatePaymentIntent(request, metadata=self.site.alice)
        url, body = urljoin(made.pay_url, "/local/pay"), {"client_secret": made.client_secret}
        async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
            assert answer.status == 200

    async def _report(self) -> None:
        for sequence in count(1):
            for provider in set(PROVIDERS) - self.silent:
                report = provider_pb2.TelemetryRequest(provider_id=provider, ask_id="a", sequence=sequence, running=1)
                with suppress(GRPCError, StreamTerminatedError, OSError):
                    async with self.site.provider.Telemetry.open(metadata=getattr(self.site, provider)) as line:
                        await line.send_message(report)
                        await line.recv_message()
                        await line.end()
            await asyncio.sleep(PAUSE_S)

    async def _bid(self) -> None:
        """One that is served, one that nobody is cheap enough for."""
        while True:
            with suppress(GRPCError, StreamTerminatedError, OSError):
                order_id, provider = await self.match()
                await self.settle(order_id, provider)
                seen = market_pb2.ReportRequest(
                    order_id=order_id, outcome=market_pb2.ReportRequest.COMPLETED, ttft_ms=50, completion_tokens=50
                )
                await self.site.market.Report(seen, metadata=self.site.alice)
            with suppress(GRPCError, StreamTerminatedError, OSError):
                await self.match(max_price="0.00000100")
            await asyncio.sleep(PAUSE_S)

    async def _rest(self) -> None:
        """A bid that waits for a lower price."""
        while True:
            resting = order(f"rest-{next(self._numbers)}", max_price="0.00050000")
            resting.good_for_ms = 60_000
            with suppress(GRPCError, StreamTerminatedError, OSError):
                await self.site.market.Match(resting, metadata=self.site.alice)
            await asyncio.sleep(PAUSE_S)

    async def _buy(self) -> None:
        while True:
            with suppress(GRPCError, StreamTerminatedError, OSError):
                await self.buy()
            await asyncio.sleep(1)
