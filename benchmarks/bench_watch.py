"""What being watched costs a Match: the same calls with metrics, without any, and with traces, by turns in one process.

    python -m benchmarks.bench_watch [--calls 200] [--rounds 12]

Client and server share the process, and the ledger is in memory, so that what differs is not lost in disks. What is
taken is processor time: other processes do not count. Of the rounds of each the median is told.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import uvloop
from grpclib.client import Channel

from gollem.app import App
from gollem.config import load
from gollem.identity import Role, open_key_store
from gollem.observability import traces
from gollem.rpc.pb import admin_pb2, market_pb2, provider_pb2
from gollem.rpc.pb.admin_grpc import AdminServiceStub
from gollem.rpc.pb.market_grpc import MarketServiceStub
from gollem.rpc.pb.provider_grpc import ProviderServiceStub
from gollem.watch import LedgerOperations

SETTINGS = {
    "server.port": "0",
    "server.metrics_port": "0",
    "storage.ledger": "memory:",
    "server.requests_per_second": "1000000",
    "server.burst": "1000000",
    "providers.withdraw_after_ms": "600000",
    "providers.forget_after_ms": "700000",
    "nodes.forget_ms": "800000",
}


class Nowhere:
    """An exporter that takes spans and does nothing with them."""

    def export(self, spans: Any) -> Any:
        from opentelemetry.sdk.trace.export import SpanExportResult

        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


class Bench:
    def __init__(self, app: App, market: MarketServiceStub, key: dict[str, str]) -> None:
        self._app = app
        self._market = market
        self._key = key
        self._number = 0

    async def round_us(self, calls: int) -> float:
        """Processor time of one Match, of so many one after the other."""
        began_ns = time.process_time_ns()
        for _ in range(calls):
            self._number += 1
            bid = market_pb2.Bid(model="gpt-4", prompt_tokens=1, max_tokens=1)
            await self._market.Match(market_pb2.MatchRequest(order_id=f"o{self._number}", bid=bid), metadata=self._key)
        return (time.process_time_ns() - began_ns) / calls / 1_000


@asynccontextmanager
async def bench(watched: bool) -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory() as folder, nullcontext() if watched else _unwatched():
        app = App(load(overrides=SETTINGS | {"storage.data": folder}))
        await app.start()
        if not watched:
            app._meters.count = app._meters.observe = lambda *_, **__: None  # type: ignore[method-assign]
            app._edge._middleware._metered = lambda call, *_: call  # type: ignore[union-attr,method-assign]
        channel = Channel("127.0.0.1", app.port)
        yield Bench(app, MarketServiceStub(channel), await _set_up(channel, Path(folder)))
        channel.close()
        await app.stop()


@contextmanager
def _unwatched() -> Iterator[None]:
    with patch.object(LedgerOperations, "of", lambda self, ledger: ledger):
        yield


async def _set_up(channel: Channel, folder: Path) -> dict[str, str]:
    """An ask that never fills, and a consumer who can pay. Returns the consumer's metadata."""
    keys = await open_key_store(folder)
    made = {
        role: {"authorization": f"Bearer {(await keys.create(role.value, role)).secret}"}
        for role in (Role.CONSUMER, Role.PROVIDER, Role.OPERATOR)
    }
    await keys.close()
    grant = admin_pb2.GrantCreditsRequest(grant_id="g", account="consumer", amount="1000000")
    await AdminServiceStub(channel).GrantCredits(grant, metadata=made[Role.OPERATOR])
    ask = provider_pb2.RegisterRequest(
        provider_id="provider", ask_id="a", model="gpt-4", gpu_type="h100", price="0.001", latency_ms=100,
        throughput_tps=100, capacity_tokens=10**12, capacity_slots=65_536, endpoint="127.0.0.1:9",
    )  # fmt: skip
    await ProviderServiceStub(channel).Register(ask, metadata=made[Role.PROVIDER])
    return made[Role.CONSUMER]


async def measure(calls: int, rounds: int) -> dict[str, tuple[float, float]]:
    """By how it is watched: microseconds of a Match, and of the same unwatched, round by round beside it."""
    found = {}
    for way in ("metrics", "metrics and traces"):
        async with bench(watched=False) as plain, bench(watched=True) as watched:
            taken: dict[Bench, list[float]] = {plain: [], watched: []}
            for number in range(rounds + 1):
                for each in (plain, watched) if number % 2 else (watched, plain):
                    gc.collect()  # what the round before left behind is not this one's
                    with traces.tracing("", 100, Nowhere()) if "traces" in way and each is watched else nullcontext():
                        taken[each].append(await each.round_us(calls))
            found[way] = median(taken[watched][1:]), median(taken[plain][1:])  # the first one warms
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=12)
    chosen = parser.parse_args()
    found = uvloop.run(measure(chosen.calls, chosen.rounds))
    for way, (us, plain_us) in found.items():
        print(
            f"{way:20} {us:8.1f} us a Match, unwatched {plain_us:8.1f}: {us - plain_us:+8.1f}, {us / plain_us - 1:+.1%}"
        )


if __name__ == "__main__":
    main()
