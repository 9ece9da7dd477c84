"""How late a node knows what another did: told, sent, read, and taken in, each after its wait."""

from dataclasses import dataclass

import numpy as np

from benchmarks.scale.calibration import Calibration
from benchmarks.scale.fleet import needs
from benchmarks.scale.load import Load
from benchmarks.scale.queue import Floats, departures_s, poisson_s
from benchmarks.scale.shard import run

_US = 1e-6


@dataclass(frozen=True)
class Staleness:
    """From an announcement to the other node's book. `falls_behind`: it grows as long as the load lasts."""

    p50_ms: float
    p99_ms: float
    falls_behind: bool


def staleness(load: Load, cost: Calibration, shards: int, seconds: float = 2.0, seed: int = 7) -> Staleness:
    """One node follows partitions of `shards` shards; its thread takes changes in between orders."""
    random = np.random.default_rng(seed)
    shard = run(load, cost, max(1, round(load.partitions / shards)), seconds, seed)
    hear_ms = node_wait_ms(load, cost, seconds, random)
    size = 20_000

    def some(waits: Floats) -> Floats:
        return random.choice(waits, size) if len(waits) else np.zeros(size)

    # A batch waits a flush before it is sent; a reader that has just read pauses as long.
    flush_ms = load.flush_ms + random.uniform(0, load.flush_ms, size)
    total = flush_ms + some(shard.publish_ms) + some(shard.read_ms) + some(hear_ms) + cost.way_ms
    late = bool(shard.busy >= 1 or needs(load, cost).cores_a_node >= 1)
    return Staleness(float(np.quantile(total, 0.5)), float(np.quantile(total, 0.99)), late)


def node_wait_ms(load: Load, cost: Calibration, seconds: float, random: np.random.Generator) -> Floats:
    """Of each read at a node's one thread, until its changes are in the book."""
    of, reads_s = needs(load, cost), load.partitions * 1_000 / load.flush_ms
    reads = poisson_s(reads_s, seconds, random)
    orders = poisson_s(load.matches_s / load.nodes, seconds, random)
    hear_s = np.full(len(reads), of.hear_cores_a_node / reads_s)
    order_s = np.full(len(orders), of.order_cores_a_node / (load.matches_s / load.nodes))
    arrivals = np.concatenate([reads, orders])
    rank = np.argsort(arrivals, kind="stable")
    arrivals, services = arrivals[rank], np.concatenate([hear_s, order_s])[rank]
    took_ms: Floats = 1_000 * (departures_s(arrivals, services) - arrivals)
    return took_ms[rank < len(reads)]
