"""The model beside small runs of the real parts on this machine, one node or two: how far off it is."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from random import Random

from benchmarks.bench_nodes import a_node, a_report, claim_and_release, quantile, reached, usage
from benchmarks.scale.calibration import Calibration
from benchmarks.scale.load import Load
from benchmarks.scale.refusals import Market
from benchmarks.scale.shard import cpu_share
from benchmarks.scale.staleness import staleness
from gollem.clock import SystemClock
from gollem.config import NodesConfig
from gollem.errors import GollemError
from gollem.exchange import Outcome, Usage
from gollem.ledger import open_ledger
from gollem.nodes import SharedBook
from tests.exchange.conftest import ASK, BID, Bench, build
from tests.servers.redis_server import RedisServer, redis_server

_ASKS, _SLOTS, _ORDER_S, _BIDS_S = 10, 2, 0.2, 70.0
_CHANGES_S, _PARTITIONS = 500.0, 8


@dataclass(frozen=True)
class Check:
    """One figure, as measured and as the model has it."""

    what: str
    unit: str
    real: float
    model: float

    @property
    def ratio(self) -> float:
        return self.model / self.real if self.real else float("nan")


async def validate(cost: Calibration, seconds: float = 5.0) -> list[Check]:
    return [check async for check in _checks(cost, seconds)]


async def _checks(cost: Calibration, seconds: float) -> AsyncIterator[Check]:
    with redis_server() as server:
        async with a_node(server, "claimer") as (node, _):
            cpu_s = time.process_time()
            count = len(await claim_and_release(node, 16, seconds))
            cpu_us = 1e6 * (time.process_time() - cpu_s) / count
        model_us = 2 * cost.node_call_us
        yield Check("CPU of a node for a claim and its release, 16 callers", "us", cpu_us, model_us)
        yield Check("claims with their releases, 1 node, 16 callers", "pairs/s", count / seconds, 1e6 / model_us)
    load = Load(
        providers=int(_CHANGES_S), asks=int(_CHANGES_S), nodes=2, matches_s=1.0, partitions=_PARTITIONS, hot_share=1.0
    )
    stale_ms, cpu_us = await _changes(seconds)
    late = staleness(load, cost, shards=1)
    yield Check(f"staleness p50, 2 nodes, {_CHANGES_S:.0f} changes/s", "ms", stale_ms, late.p50_ms)
    model_us = 1e6 * _PARTITIONS * cpu_share(replace(load, matches_s=0.0), cost, 1 / _PARTITIONS) / _CHANGES_S
    yield Check(f"CPU of Redis a change, 2 nodes, {_CHANGES_S:.0f} changes/s", "us", cpu_us, model_us)
    refused = await _refused(seconds)
    market = Market(_ASKS, _SLOTS, 2, stale_ms / 1_000, sameness=1.0, report_s=1e9)
    yield Check(
        "claims refused, 2 nodes, all bids alike", "of claims", refused, market.run(_BIDS_S, _ORDER_S, 60).refused_share
    )


async def _changes(seconds: float) -> tuple[float, float]:
    """The median time from one node to the other, and what Redis spends on a change that both read."""
    with redis_server() as server:
        async with a_node(server, "speaker") as (speaker, _), a_node(server, "hearer") as (_, hearer):
            before, took_ms, told = usage(server), [], 0
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                told += 1
                speaker.announce(a_report(told, sequence=told))
                if told % 50 == 0:
                    await reached(lambda: hearer.changes >= told - 1)  # noqa: B023
                    took_ms.append(await _one_ms(speaker, hearer, told))
                    told += 1
                await asyncio.sleep(1 / _CHANGES_S)
            return quantile(took_ms, 0.5), 1e6 * usage(server).since(before).cpu_s / told


async def _one_ms(speaker: SharedBook, hearer: object, told: int) -> float:
    await reached(lambda: hearer.changes >= told)  # type: ignore[attr-defined]
    began = time.perf_counter()
    speaker.announce(a_report(told, sequence=told + 1))
    await reached(lambda: hearer.changes > told)  # type: ignore[attr-defined]
    return 1_000 * (time.perf_counter() - began)


async def _refused(seconds: float) -> float:
    """Two nodes over one Redis, and bids that all want the same."""
    with redis_server() as server:
        nodes = await _pair(server)
        for number in range(_ASKS):
            nodes[0].asks.register(
                replace(ASK, provider_id=f"p{number}", price_ticks=50_000 + number, capacity_slots=_SLOTS), None
            )
        await reached(lambda: len(nodes[1].floor) == _ASKS)
        dice, orders = Random(7), []
        until, number = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            number += 1
            orders.append(asyncio.create_task(_order(dice.choice(nodes), f"o{number}", dice.expovariate(1 / _ORDER_S))))
            await asyncio.sleep(dice.expovariate(_BIDS_S))
        await asyncio.gather(*orders)
        statuses = [node.shared.status() for node in nodes]
        for node in nodes:
            await node.commits.finish()
            await node.shared.close()
        refused = sum(status.refused for status in statuses)
        return refused / max(1, refused + sum(status.granted for status in statuses))


async def _pair(server: RedisServer) -> list[Bench]:
    ledger, url = await open_ledger("memory:"), f"redis://127.0.0.1:{server.port}"
    nodes = [
        build(ledger, SystemClock(), NodesConfig(book=url, name=name, claim_timeout_ms=5_000)) for name in ("a", "b")
    ]
    for node in nodes:
        await node.shared.start(node.replica)
    await nodes[0].fund(amount=10**7)
    return nodes


async def _order(node: Bench, order_id: str, lasts_s: float) -> None:
    try:
        matched = await node.orders.match("alice", order_id, BID)
    except GollemError:
        return
    await asyncio.sleep(lasts_s)
    await node.settlement.settle(matched.terms.provider_id, order_id, Usage(1, 1), Outcome.COMPLETED)
