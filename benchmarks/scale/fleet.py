"""What a load takes of each resource, which of them ends first, and what it costs."""

import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.scale.calibration import Calibration
from benchmarks.scale.load import Load
from benchmarks.scale.shard import cpu_share, demand

# A thread this busy still answers in time: see the waits in the page.
BUSY = 0.7
# AWS's default for a table, on demand or provisioned; it can be raised on request.
TABLE_WRITE_UNITS_S = 40_000
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
PARTITION_WRITE_UNITS_S = 1_000
_US, _GB, _HOUR_S = 1e-6, 1e9, 3_600
_OTHER_ZONE = 2 / 3
_PRICES = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True)
class Needs:
    """A second, over the whole fleet unless it says otherwise. Cores are busy ones, before any margin. A partition lies
    on one shard, so there are at most as many shards as partitions, however many are needed."""

    redis_cores: float
    hottest_partition_cores: float
    shards: int
    redis_in_bytes: float
    redis_out_bytes: float
    redis_memory_bytes: float
    hear_cores_a_node: float
    tell_cores_a_node: float
    order_cores_a_node: float
    write_units: float
    busy_share: float

    @property
    def cores_a_node(self) -> float:
        """A node is one process with one thread: above 1 it falls behind for ever."""
        return self.hear_cores_a_node + self.tell_cores_a_node + self.order_cores_a_node


@dataclass(frozen=True)
class Cost:
    """US dollars a million matches."""

    dynamodb: float
    redis: float
    nodes: float
    traffic: float

    @property
    def total(self) -> float:
        return self.dynamodb + self.redis + self.nodes + self.traffic


def needs(load: Load, cost: Calibration) -> Needs:
    partition = cpu_share(load, cost, 1 / load.partitions)
    own_changes, calls = load.changes_s / load.nodes, load.calls_a_match * load.matches_s
    heard = load.changes_s - own_changes
    order_us = cost.node_match_us + cost.node_ledger_us + load.calls_a_match * cost.node_call_us
    return Needs(
        redis_cores=load.partitions * partition,
        hottest_partition_cores=cpu_share(load, cost, load.hot_share),
        shards=math.ceil(load.partitions * partition / BUSY),
        redis_in_bytes=load.changes_s * cost.change_sent_bytes + calls * cost.claim_bytes / 3,
        redis_out_bytes=load.changes_s * load.nodes * cost.change_read_bytes,
        redis_memory_bytes=load.asks * cost.ask_bytes,
        hear_cores_a_node=_US * heard * cost.node_hear_us,
        tell_cores_a_node=_US * own_changes * cost.node_tell_us,
        order_cores_a_node=_US * order_us * load.matches_s / load.nodes,
        write_units=load.matches_s * cost.write_units,
        busy_share=load.busy_share,
    )


def price(load: Load, cost: Calibration) -> Cost:
    """Nodes are paid by the core that they keep busy, at least one each, shards with a replica each."""
    usd = {name: entry["usd"] for name, entry in prices().items()}
    of = needs(load, cost)
    an_hour = _HOUR_S * load.matches_s / 1e6
    cores = load.nodes * max(1.0, of.cores_a_node / BUSY)
    moved = (of.redis_in_bytes + of.redis_out_bytes) * _OTHER_ZONE / _GB
    return Cost(
        dynamodb=cost.write_units * usd["dynamodb_write"],
        redis=2 * min(load.partitions, of.shards) * usd["redis_hour"] / an_hour,
        nodes=cores * usd["core_hour"] / an_hour,
        traffic=moved * usd["zone_gigabyte"] * _HOUR_S / an_hour,
    )


def prices() -> dict[str, dict[str, Any]]:
    return tomllib.loads(_PRICES.read_text())


def ceilings(load: Load, cost: Calibration) -> dict[str, float]:
    """Matches a second at which each resource is as busy as it may be, with all else as it is; lowest first."""
    limits: dict[str, Callable[[Needs], float]] = {
        "a node hears the others": lambda of: (of.hear_cores_a_node + of.tell_cores_a_node) / BUSY,
        "a node does all its work on one thread": lambda of: of.cores_a_node / BUSY,
        "a node matches, without hearing": lambda of: of.order_cores_a_node / BUSY,
        "the busiest partition fills a shard": lambda of: of.hottest_partition_cores / BUSY,
        "a table's default quota of write units": lambda of: of.write_units / TABLE_WRITE_UNITS_S,
        "all slots are taken": lambda of: of.busy_share,
    }
    found = {name: _largest(load, cost, limit) for name, limit in limits.items()}
    return dict(sorted(found.items(), key=lambda each: each[1]))


def _largest(load: Load, cost: Calibration, used: Callable[[Needs], float]) -> float:
    """By halving: each share grows with the matches. 0 if even none is too many."""
    low, high = 0.0, 1e8
    for _ in range(60):
        middle = (low + high) / 2
        of = needs(replace(load, matches_s=middle), cost)
        low, high = (middle, high) if used(of) <= 1 else (low, middle)
    return low if low > 1 else 0.0


def changes_a_read(load: Load) -> float:
    """How many changes come together, in a partition of equal share."""
    return demand(load, 1 / load.partitions).changes_a_read
