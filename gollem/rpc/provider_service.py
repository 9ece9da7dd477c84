"""ProviderService: what agents call."""

import asyncio
from typing import Any

from gollem import units
from gollem.clock import Clock
from gollem.config import MarketConfig, ProvidersConfig
from gollem.errors import GollemError, TooManyStreams
from gollem.exchange import Advice, AgentLinks, Asks, Settlement
from gollem.market import Catalogue
from gollem.rpc import context, decode, encode, fields
from gollem.rpc.grants import GrantSigner
from gollem.rpc.middleware import Middleware
from gollem.rpc.pb import provider_pb2
from gollem.rpc.pb.provider_grpc import ProviderServiceBase
from gollem.rpc.unary import answer


class ProviderService(ProviderServiceBase):
    """Decodes, calls the use case, encodes. A provider reaches its own asks only."""

    def __init__(
        self,
        asks: Asks,
        settlement: Settlement,
        links: AgentLinks,
        advice: Advice,
        catalogue: Catalogue,
        signer: GrantSigner,
        middleware: Middleware,
        clock: Clock,
        config: ProvidersConfig,
        market: MarketConfig,
    ) -> None:
        self._asks = asks
        self._settlement = settlement
        self._links = links
        self._advice = advice
        self._catalogue = catalogue
        self._signer = signer
        self._middleware = middleware
        self._clock = clock
        self._config = config
        self._fee_bps = market.fee_bps

    async def Register(self, stream: Any) -> None:
        await answer(stream, self._register)

    async def Deregister(self, stream: Any) -> None:
        await answer(stream, self._deregister)

    async def PostStatus(self, stream: Any) -> None:
        await answer(stream, self._report)

    async def Settle(self, stream: Any) -> None:
        await answer(stream, self._settle)

    async def GetCircuit(self, stream: Any) -> None:
        await answer(stream, self._circuit)

    async def GetRateLimit(self, stream: Any) -> None:
        await answer(stream, self._rate_limit)

    async def GetLatency(self, stream: Any) -> None:
        await answer(stream, self._latency)

    async def ListAsks(self, stream: Any) -> None:
        await answer(stream, self._list)

    async def WhyUnmatched(self, stream: Any) -> None:
        await answer(stream, self._why)

    async def Telemetry(self, stream: Any) -> None:
        """Answers each report, and speaks up by itself when an order of these asks is cancelled."""
        line = _TelemetryLine(stream, self._asks, self._links, self._config.max_asks_per_provider)
        try:
            async for request in stream:
                await self._middleware.admit()
                response = await self._report(request)
                if response.known:
                    line.follow(request.provider_id, request.ask_id)
                await line.send(response)
        finally:
            await line.close()

    async def _register(self, request: provider_pb2.RegisterRequest) -> provider_pb2.RegisterResponse:
        context.provider(fields.account(request.provider_id, "provider_id"))
        ask = decode.ask(request, self._catalogue)
        await self._asks.admit(ask.provider_id)
        self._asks.register(ask, decode.per_minute(request))
        model = self._catalogue.resolve(ask.model)
        multipliers = model.multiplier_micro, self._catalogue.gpu(ask.gpu_type)
        return provider_pb2.RegisterResponse(
            ask_id=ask.ask_id,
            model=ask.model,
            grant_public_key=self._signer.public_key,
            grant_public_keys=self._signer.public_keys,
            telemetry_interval_ms=self._config.telemetry_interval_ms,
            withdraw_after_ms=self._config.withdraw_after_ms,
            fee_bps=self._fee_bps,
            prompt_usd_per_mtok=units.usd_per_mtok(ask.price_ticks, *multipliers),
            completion_usd_per_mtok=units.usd_per_mtok(ask.completion_price_ticks, *multipliers),
            context_tokens=model.context_tokens,
        )

    async def _deregister(self, request: provider_pb2.DeregisterRequest) -> provider_pb2.DeregisterResponse:
        context.provider(fields.account(request.provider_id, "provider_id"))
        ask_id = fields.ask_id(request.ask_id) if request.ask_id else None
        return provider_pb2.DeregisterResponse(removed=self._asks.deregister(request.provider_id, ask_id))

    async def _report(self, request: provider_pb2.TelemetryRequest) -> provider_pb2.TelemetryResponse:
        context.provider(fields.account(request.provider_id, "provider_id"))
        ask_id = fields.ask_id(request.ask_id)
        status = decode.status(request)
        reply = await self._asks.report(request.provider_id, ask_id, status)
        return encode.telemetry_answer(ask_id, status.sequence, reply)

    async def _settle(self, request: provider_pb2.SettleRequest) -> provider_pb2.SettleResponse:
        context.provider(fields.account(request.provider_id, "provider_id"))
        usage, outcome = decode.usage(request)
        order_id = fields.order_id(request.order_id)
        return encode.settled(await self._settlement.settle(request.provider_id, order_id, usage, outcome))

    async def _circuit(self, request: provider_pb2.GetCircuitRequest) -> provider_pb2.Circuit:
        provider_id = fields.account(request.provider_id, "provider_id")
        status = self._asks.circuit(provider_id, self._clock.monotonic_ms())
        return encode.circuit(provider_id, status, self._config.circuit_failures, self._config.circuit_window_ms)

    async def _rate_limit(self, request: provider_pb2.GetRateLimitRequest) -> provider_pb2.RateLimit:
        provider_id = fields.account(request.provider_id, "provider_id")
        now_ms = self._clock.monotonic_ms()
        return provider_pb2.RateLimit(
            provider_id=provider_id,
            asks=[encode.rate_limit(seller, _ask_id(seller.key), now_ms) for seller in self._asks.sellers(provider_id)],
        )

    async def _latency(self, request: provider_pb2.GetLatencyRequest) -> provider_pb2.Latency:
        provider_id = fields.account(request.provider_id, "provider_id")
        return provider_pb2.Latency(
            provider_id=provider_id,
            asks=[
                encode.latency(seller, _ask_id(seller.key), self._config.samples_needed)
                for seller in self._asks.sellers(provider_id)
            ],
        )

    async def _list(self, request: provider_pb2.ListAsksRequest) -> provider_pb2.ListAsksResponse:
        provider_id, now_ms = context.sellers_own(request.provider_id), self._clock.monotonic_ms()
        return provider_pb2.ListAsksResponse(
            asks=[
                encode.ask_state(
                    ask, seller, self._asks.answer(provider_id, ask.ask_id).blocked_by, now_ms, self._catalogue
                )
                for ask, seller in self._asks.offered_by(provider_id)
            ]
        )

    async def _why(self, request: provider_pb2.WhyUnmatchedRequest) -> provider_pb2.WhyUnmatchedResponse:
        provider_id = context.sellers_own(request.provider_id)
        ask_id = fields.ask_id(request.ask_id) if request.ask_id else ""
        outlooks = await self._advice.outlooks(provider_id, ask_id)
        return provider_pb2.WhyUnmatchedResponse(
            asks=[encode.chances(outlook, self._catalogue) for outlook in outlooks]
        )


class _TelemetryLine:
    """The exchange's half of one telemetry stream: answers, and cancellations as they come."""

    def __init__(self, stream: Any, asks: Asks, links: AgentLinks, most_asks: int) -> None:
        self._stream = stream
        self._asks = asks
        self._links = links
        self._most_asks = most_asks
        self._sending = asyncio.Lock()
        self._pushers: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def send(self, response: provider_pb2.TelemetryResponse) -> None:
        async with self._sending:
            await self._stream.send_message(response)

    def follow(self, provider_id: str, ask_id: str) -> None:
        """Push what concerns this ask from now on."""
        if (provider_id, ask_id) in self._pushers:
            return
        if len(self._pushers) >= self._most_asks:
            raise TooManyStreams(f"one stream carries {self._most_asks} asks at most", limit=self._most_asks)
        self._pushers[provider_id, ask_id] = asyncio.create_task(self._push(provider_id, ask_id))

    async def close(self) -> None:
        for task in self._pushers.values():
            task.cancel()
        await asyncio.gather(*self._pushers.values(), return_exceptions=True)

    async def _push(self, provider_id: str, ask_id: str) -> None:
        waker, key = asyncio.Event(), f"{provider_id}/{ask_id}"
        self._links.listen(key, waker)
        try:
            while True:
                await waker.wait()
                waker.clear()
                reply = self._asks.answer(provider_id, ask_id)
                await self.send(encode.telemetry_answer(ask_id, 0, reply))
        except (GollemError, ConnectionError):
            return  # the agent is gone; it hears of it when it comes back
        finally:
            self._links.unlisten(key, waker)


def _ask_id(key: str) -> str:
    return key.partition("/")[2]
