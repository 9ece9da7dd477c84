"""Measures what the model needs, on the real parts: Redis, the nodes' side of it, an order, and DynamoDB Local.

Costs are CPU times and counts, which hold better on a machine that does other things than rates and waits do.
"""

import os
import platform
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis

from benchmarks import bench_dynamodb
from benchmarks.bench_nodes import Counter, Sizes, a_node, a_report, catch_up_cases, claim_and_release, reached
from benchmarks.scale.calibration import Calibration
from gollem.clock import SystemClock
from gollem.errors import LedgerUnavailable
from gollem.exchange import Outcome, Usage
from gollem.ledger import open_ledger
from gollem.nodes import ClaimRequest, Ended, Ending, Granted, Lease, Placed, Sent, SharedBook, wire
from tests.exchange.conftest import ASK, BID, build
from tests.servers.dynamodb_local import CREDENTIALS, dynamodb_local
from tests.servers.redis_server import RedisServer, redis_server

_LEASE_MS = 60_000
_TRIES = 5


@dataclass(frozen=True)
class Stats:
    """Of Redis, since they were reset: CPU, bytes in and out, and calls and microseconds a command."""

    cpu_us: float
    bytes_in: int
    bytes_out: int
    calls: dict[str, int]
    usec: dict[str, float]

    def each_us(self, command: str) -> float:
        """CPU of a call, with its way in and out: Redis measures commands by the clock, which shows how its CPU time is
        shared among them, and on a busy machine not how much it was."""
        spent = self.usec.get("fcall", 0.0) + self.usec.get("xread", 0.0)
        return self.usec.get(command, 0.0) / max(1, self.calls.get(command, 0)) * self.cpu_us / max(1.0, spent)


async def calibrate(seconds: float = 2.0) -> Calibration:
    """Raises what the servers raise that it starts: redis-server, Java for DynamoDB Local."""
    with redis_server() as server:
        leases = await _leases(server, seconds)
    one, many = await _changes(burst=1, seconds=seconds), await _changes(burst=200, seconds=seconds)
    catch_up = {}
    with redis_server() as server:
        async for case in catch_up_cases(server, Sizes(asks=20_000)):
            catch_up[case.case.split(" a new node among")[0]] = case.value
    order = await _order_us(seconds)
    ledger_us, write_units = await _ledger(seconds)
    slope = _slopes(one, many)
    return Calibration(
        made=datetime.now(UTC).date().isoformat(),
        machine=f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        load_average=os.getloadavg()[0],
        redis_version=one["version"],
        claim_us=leases["claim_us"],
        renew_us=leases["renew_us"],
        release_us=leases["release_us"],
        **slope,
        claim_bytes=leases["bytes"],
        change_sent_bytes=many["bytes_in"],
        change_read_bytes=many["bytes_out"],
        ask_bytes=catch_up["memory of Redis an ask"],
        snapshot_bytes=catch_up["bytes an ask for a new node"],
        node_call_us=leases["node_us"],
        node_tell_us=_tell_us(),
        node_hear_us=await _hear_us(),
        node_match_us=order,
        node_ledger_us=ledger_us,
        way_ms=leases["way_ms"],
        write_units=write_units,
    )


def _slopes(one: dict[str, Any], many: dict[str, Any]) -> dict[str, float]:
    """Of publishing and reading: what a call costs, and each change in it."""
    found = {}
    for name, command, count in (("publish", "fcall_us", "sent"), ("read", "xread_us", "read")):
        slope = max(0.0, many[command] - one[command]) / max(1e-9, many[count] - one[count])
        found[f"{name}_change_us"] = slope
        found[f"{name}_us"] = max(0.0, one[command] - slope * one[count])
    return found


async def _leases(server: RedisServer, seconds: float) -> dict[str, float]:
    async with a_node(server, "claimer") as (node, _):
        took_ms = await claim_and_release(node, 1, seconds)
        found = {"way_ms": sorted(took_ms)[len(took_ms) // 2]}
        cpu_s, calls = time.process_time(), 0
        for name, call in (("claim", _claim), ("renew", _renew), ("release", _release)):
            _stats(server, reset=True)
            for number in range(int(500 * seconds)):
                await call(node, number)
            after = _stats(server)
            found[f"{name}_us"] = after.each_us("fcall")
            calls += after.calls["fcall"]
            found["bytes"] = found.get("bytes", 0.0) + (after.bytes_in + after.bytes_out) / after.calls["fcall"]
        return found | {"node_us": 1e6 * (time.process_time() - cpu_s) / calls}


def _request(number: int) -> ClaimRequest:
    return ClaimRequest(f"o{number}", f"p{number % 64}/ask", "gpt-4", 10, _LEASE_MS, 10**9, 10**6)


def _lease(number: int) -> Lease:
    request = _request(number)
    return Lease(request.order_id, request.ask_key, request.model, request.tokens, _FENCES[number])


_FENCES: dict[int, int] = {}


async def _claim(node: SharedBook, number: int) -> None:
    answer = await node.claim(_request(number))
    assert isinstance(answer, Granted)
    _FENCES[number] = answer.fence


async def _renew(node: SharedBook, number: int) -> None:
    assert await node.renew(_lease(number), _LEASE_MS)


async def _release(node: SharedBook, number: int) -> None:
    assert await node.release(_lease(number))


async def _changes(burst: int, seconds: float) -> dict[str, Any]:
    """So many reports at a time, until the hearer has them."""
    with redis_server() as server:
        async with a_node(server, "speaker") as (speaker, _), a_node(server, "hearer") as (_, hearer):
            _stats(server, reset=True)
            until, told = time.perf_counter() + seconds, 0
            while time.perf_counter() < until:
                for _ in range(burst):
                    told += 1
                    speaker.announce(a_report(32 * told, sequence=told))
                await reached(lambda: hearer.changes >= told)  # noqa: B023
            stats = _stats(server)
            return _per_change(stats, hearer, told) | {"version": _version(server)}


def _per_change(stats: Stats, hearer: Counter, told: int) -> dict[str, Any]:
    return {
        "fcall_us": stats.each_us("fcall"),
        "xread_us": stats.each_us("xread"),
        "sent": told / max(1, stats.calls["fcall"]),
        "read": 2 * told / max(1, stats.calls["xread"]),  # the speaker reads its own, too
        "bytes_in": stats.bytes_in / told,
        "bytes_out": stats.bytes_out / told / 2,
    }


def _stats(server: RedisServer, reset: bool = False) -> Stats:
    with redis.Redis(port=server.port, protocol=2) as client:
        figures: dict[str, Any] = client.info("all")
        if reset:
            client.config_resetstat()
            _BASE[server.port] = 1e6 * (figures["used_cpu_user"] + figures["used_cpu_sys"])
    commands = {name[8:]: stat for name, stat in figures.items() if name.startswith("cmdstat_")}
    return Stats(
        1e6 * (figures["used_cpu_user"] + figures["used_cpu_sys"]) - _BASE.get(server.port, 0.0),
        figures["total_net_input_bytes"],
        figures["total_net_output_bytes"],
        {name: stat["calls"] for name, stat in commands.items()},
        {name: stat["usec"] for name, stat in commands.items()},
    )


_BASE: dict[int, float] = {}


def _version(server: RedisServer) -> str:
    return server.ask("info", "server").split("redis_version:")[1].split()[0]


def _tell_us(rounds: int = 5_000) -> float:
    """To write a change for the stream."""
    change, began = a_report(1, sequence=1), time.process_time()
    for _ in range(rounds):
        wire.encode(change)
    return 1e6 * (time.process_time() - began) / rounds


async def _hear_us(asks: int = 2_000, rounds: int = 4) -> float:
    """To read a change of the mix that a match and its reports make, and to take it into the book."""
    node = build(await open_ledger("memory:"), SystemClock())
    sold = [Placed(_an_ask(number), None) for number in range(asks)]
    node.replica.apply(sold)
    spent, count = 0.0, 0
    for turn in range(1, rounds + 1):
        texts = [wire.batch("other", [wire.encode(change)]) for change in _mix(asks, turn)]
        began = time.process_time()
        for text in texts:
            node.replica.apply(wire.decode(text, 0).changes)
        spent, count = spent + time.process_time() - began, count + len(texts)
    return 1e6 * spent / count


def _an_ask(number: int) -> Any:
    return replace(ASK, provider_id=f"provider-{number}", ask_id="ask")


def _mix(asks: int, turn: int) -> list[Any]:
    """One report, one order sent, one ended, of each."""
    changes: list[Any] = []
    for number in range(asks):
        key, order_id = f"provider-{number}/ask", f"o{turn}-{number}"
        changes.append(replace(a_report(number, sequence=turn), model="gpt-4"))
        changes.append(Sent(key, "gpt-4", order_id, 10))
        changes.append(Ended(key, "gpt-4", order_id, Ending.SUCCEEDED))
    return changes


async def _order_us(seconds: float) -> float:
    """To match and settle, without the edge, Redis and the ledger's store."""
    node = build(await open_ledger("memory:"), SystemClock())
    for number in range(500):
        node.floor.place(_an_ask(number), None)
    await node.fund(amount=10**8)
    began, count = time.process_time(), 0
    while time.process_time() - began < seconds:
        matched = await node.orders.match("alice", f"o{count}", BID)
        await node.settlement.settle(matched.terms.provider_id, f"o{count}", Usage(10, 10), Outcome.COMPLETED)
        count += 1
    return 1e6 * (time.process_time() - began) / count


async def _ledger(seconds: float) -> tuple[float, float]:
    """Of the client of DynamoDB, and write units, an order: of two writes, hold and settlement. Counted by the write,
    since some are tried again where DynamoDB Local is slow."""
    os.environ |= CREDENTIALS
    with dynamodb_local() as endpoint:
        run = await _measured(endpoint, max(seconds, 3.0))
    return 2e6 * run.cpu_s / run.writes, 4 * run.items / run.writes


async def _measured(endpoint: str, seconds: float) -> bench_dynamodb.Run:
    """DynamoDB Local is slow to begin on a busy machine."""
    for left in reversed(range(_TRIES)):
        try:
            work, users = bench_dynamodb.hold_and_settle, bench_dynamodb.USERS
            return await bench_dynamodb.measure(endpoint, work, 64, users, seconds)
        except LedgerUnavailable:
            if not left:
                raise
    raise AssertionError


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
