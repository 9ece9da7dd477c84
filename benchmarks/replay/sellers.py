"""The providers: they register every ask, report on a telemetry stream each, settle, and answer nothing else.

No prompt is ever sent, so nobody listens at their endpoints.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from grpclib.client import Channel

from benchmarks.replay.listings import CONTEXT_TOKENS, Listing
from gollem import units
from gollem.rpc.pb import common_pb2, provider_pb2
from gollem.rpc.pb.provider_grpc import ProviderServiceStub

TELEMETRY_S = 2.0
CALL_TIMEOUT_S = 20.0
_ENDPOINT = "127.0.0.1:9"
_REFUSED = provider_pb2.OrderEvent.Kind.REFUSED


class Sellers:
    """Every provider of the list, each with its own key, over one channel."""

    def __init__(self, channel: Channel, keys: dict[str, str], listings: Sequence[Listing]) -> None:
        self._stub = ProviderServiceStub(channel)
        self._metadata = {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}
        self._asks: dict[str, list[Listing]] = defaultdict(list)
        for listing in listings:
            self._asks[listing.provider_id].append(listing)
        self._by_id = {listing.ask_id: listing for listing in listings}
        # Orders that an ask must be told to have refused, with its next report.
        self._refusals: dict[str, list[str]] = defaultdict(list)

    async def register(self) -> None:
        """Put every ask into the book."""
        for name, asks in self._asks.items():
            metadata = self._metadata[name]
            await asyncio.gather(
                *(self._stub.Register(_register(ask), timeout=CALL_TIMEOUT_S, metadata=metadata) for ask in asks)
            )

    def listing(self, ask_id: str) -> Listing:
        """What an ask really is, whatever has been measured of it since."""
        return self._by_id[ask_id]

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Keep every ask alive for as long as the block lasts. A stream that breaks ends the block."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._report(name)) for name in self._asks]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def settle(
        self, provider_id: str, order_id: str, prompt: int, completion: int
    ) -> provider_pb2.SettleResponse:
        """Charge an order for these tokens; none: the provider has failed."""
        outcome = provider_pb2.SettleRequest.Outcome
        request = provider_pb2.SettleRequest(
            provider_id=provider_id,
            order_id=order_id,
            usage=common_pb2.Usage(prompt_tokens=prompt, completion_tokens=completion),
            outcome=outcome.COMPLETED if completion else outcome.FAILED,
        )
        metadata = self._metadata[provider_id]
        answer: provider_pb2.SettleResponse = await self._stub.Settle(
            request, timeout=CALL_TIMEOUT_S, metadata=metadata
        )
        return answer

    async def _report(self, provider_id: str) -> None:
        """One stream: a report of each ask, the answers to them, a pause."""
        async with self._stub.Telemetry.open(metadata=self._metadata[provider_id]) as stream:
            sequence = 0
            while True:
                sequence += 1
                for ask in self._asks[provider_id]:
                    await stream.send_message(self._status(ask, sequence))
                for _ in self._asks[provider_id]:
                    self._heed(await stream.recv_message())
                await asyncio.sleep(TELEMETRY_S)

    def _status(self, ask: Listing, sequence: int) -> provider_pb2.TelemetryRequest:
        refused = self._refusals.pop(ask.ask_id, [])[:256]
        events = [provider_pb2.OrderEvent(order_id=order_id, kind=_REFUSED) for order_id in refused]
        return provider_pb2.TelemetryRequest(
            provider_id=ask.provider_id, ask_id=ask.ask_id, sequence=sequence, events=events
        )

    def _heed(self, answer: provider_pb2.TelemetryResponse | None) -> None:
        """An order that its consumer cancels never starts here."""
        if answer is None:
            raise ConnectionError("the exchange ended a telemetry stream")
        self._refusals[answer.ask_id] += answer.cancelled_orders


def _register(ask: Listing) -> provider_pb2.RegisterRequest:
    return provider_pb2.RegisterRequest(
        provider_id=ask.provider_id,
        ask_id=ask.ask_id,
        model=ask.model,
        gpu_type=ask.gpu_type,
        price=units.format_fixed(ask.price_ticks),
        completion_price=units.format_fixed(ask.completion_ticks),
        latency_ms=ask.latency_ms,
        throughput_tps=ask.throughput_tps,
        capacity_tokens=ask.slots * CONTEXT_TOKENS,
        capacity_slots=ask.slots,
        endpoint=_ENDPOINT,
    )
