"""One shard of Redis: calls for leases, batches of changes and reads of them wait for its one thread."""

from dataclasses import dataclass

import numpy as np

from benchmarks.scale.calibration import Calibration
from benchmarks.scale.load import Load
from benchmarks.scale.queue import Floats, departures_s, paced_s, poisson_s

_US = 1e-6


@dataclass(frozen=True)
class Demand:
    """Of one partition, a second: orders that need leases; batches, and reads of them, with the changes in each."""

    matches: float
    batches: float
    changes_a_batch: float
    reads: float
    changes_a_read: float


@dataclass(frozen=True)
class ShardRun:
    """`busy` is the share of time that the thread works; waits are from arrival to reply, at the server."""

    busy: float
    lease_ms: Floats
    publish_ms: Floats
    read_ms: Floats


def demand(load: Load, share: float) -> Demand:
    """A partition with this share of all traffic. A node sends, and reads, at most once a flush."""
    changes = load.changes_s * share
    flushes = 1_000 / load.flush_ms
    batches = load.nodes * flushes * _some(changes / load.nodes / flushes)
    reads = load.nodes * flushes * _some(changes / flushes)
    if not changes:
        return Demand(load.matches_s * share, 0.0, 0.0, 0.0, 0.0)
    return Demand(load.matches_s * share, batches, changes / batches, reads, changes * load.nodes / reads)


def cpu_share(load: Load, cost: Calibration, share: float) -> float:
    """Of one core, for a partition with this share."""
    of = demand(load, share)
    leases = of.matches * (cost.claim_us + cost.renew_us + cost.release_us)
    publishing = of.batches * (cost.publish_us + cost.publish_change_us * of.changes_a_batch)
    reading = of.reads * (cost.read_us + cost.read_change_us * of.changes_a_read)
    return _US * (leases + publishing + reading)


def run(load: Load, cost: Calibration, partitions: int, seconds: float, seed: int = 7) -> ShardRun:
    """A shard with so many partitions of equal share, for a while."""
    random, of = np.random.default_rng(seed), demand(load, 1 / load.partitions)
    sources, flush_s = partitions * load.nodes, load.flush_ms / 1_000
    lease = poisson_s(load.calls_a_match * partitions * of.matches, seconds, random)
    publish = poisson_s(partitions * of.batches, seconds, random)
    read = _thinned(paced_s(flush_s, sources, seconds, random), partitions * of.reads * seconds, random)
    lease_us = random.choice([cost.claim_us, cost.renew_us, cost.release_us], len(lease))
    publish_us = cost.publish_us + cost.publish_change_us * _counts(of.changes_a_batch, len(publish), random)
    read_us = cost.read_us + cost.read_change_us * _counts(of.changes_a_read, len(read), random)
    arrivals, services = np.concatenate([lease, publish, read]), np.concatenate([lease_us, publish_us, read_us]) * _US
    kinds = np.repeat([0, 1, 2], [len(lease), len(publish), len(read)])
    order = np.argsort(arrivals, kind="stable")
    arrivals, services, kinds = arrivals[order], services[order], kinds[order]
    took_ms = 1_000 * (departures_s(arrivals, services) - arrivals)
    return ShardRun(float(services.sum() / seconds), *(took_ms[kinds == kind] for kind in range(3)))


def _some(mean: float) -> float:
    """How likely it is that anything came, where so much comes on average."""
    return float(-np.expm1(-mean))


def _counts(mean: float, size: int, random: np.random.Generator) -> Floats:
    """At least one each."""
    counts: Floats = 1.0 + random.poisson(max(0.0, mean - 1), size)
    return counts


def _thinned(moments: Floats, expected: float, random: np.random.Generator) -> Floats:
    return moments[random.random(len(moments)) < expected / max(1, len(moments))]
