"""One parameter at a time, with all else as it was wanted: the curves of the page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.scale.calibration import Calibration
from benchmarks.scale.fleet import ceilings, needs, price
from benchmarks.scale.load import WANTED, Load
from benchmarks.scale.refusals import Market
from benchmarks.scale.shard import run


@dataclass(frozen=True)
class Curve:
    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Picture:
    """`limit` is a line across, with its name."""

    file: str
    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    log_x: bool = False
    log_y: bool = False
    limit: tuple[float, str] | None = None


def pictures(cost: Calibration, seconds: float) -> list[Picture]:
    """`seconds` of simulated time for each point that is simulated."""
    return [
        partitions(cost),
        lease_waits(cost, min(1.0, seconds / 10)),
        hearing(cost),
        most_matches(cost),
        refused(seconds),
        cost_a_million(cost),
    ]


def partitions(cost: Calibration) -> Picture:
    counts = [8, 16, 32, 64, 128, 256]
    curves = []
    for nodes in (10, 50, 100):
        loads = [replace(WANTED, nodes=nodes, partitions=count, hot_share=1 / count) for count in counts]
        curves.append(Curve(f"{nodes} nodes", counts, [needs(load, cost).redis_cores for load in loads]))
    return Picture(
        "partitions",
        "Cores that Redis needs: each partition is read by every node",
        "partitions",
        "busy cores",
        curves,
        log_x=True,
        log_y=True,
    )


def lease_waits(cost: Calibration, seconds: float) -> Picture:
    """Of one shard with one partition, by how busy it is."""
    busy, p50, p99 = [], [], []
    for matches_s in np.linspace(500, 12_000, 16):
        ran = run(replace(WANTED, matches_s=float(matches_s) * WANTED.partitions), cost, 1, seconds)
        if ran.busy < 1:
            busy.append(ran.busy)
            p50.append(float(np.quantile(ran.lease_ms, 0.5)))
            p99.append(float(np.quantile(ran.lease_ms, 0.99)))
    curves = [Curve("p50", busy, p50), Curve("p99", busy, p99)]
    return Picture(
        "lease-waits",
        "How long a claim waits at its shard",
        "share of time that the shard works",
        "ms at the server",
        curves,
        log_y=True,
    )


def hearing(cost: Calibration) -> Picture:
    """What a node must do for what the others say, whatever it matches itself."""
    rates = np.geomspace(1e3, 1e5, 12)
    curves = []
    for reports in (0.1, 1.0):
        loads = [replace(WANTED, matches_s=float(rate), reports_s=reports) for rate in rates]
        heard = [needs(load, cost).hear_cores_a_node for load in loads]
        curves.append(Curve(f"{reports * WANTED.providers:,.0f} reports/s", list(rates), heard))
    return Picture(
        "hearing",
        "What each node spends on hearing the others",
        "matches a second, all nodes",
        "cores a node",
        curves,
        log_x=True,
        log_y=True,
        limit=(1.0, "its one thread"),
    )


def most_matches(cost: Calibration) -> Picture:
    """By the number of nodes, for several ways to tell."""
    counts = [2, 5, 10, 20, 50, 100, 200]
    ways = {
        "as wanted": WANTED,
        "a report every 10 s": replace(WANTED, reports_s=0.1),
        "nothing to hear": replace(WANTED, reports_s=0.0, changes_a_match=0),
    }
    curves = []
    for name, load in ways.items():
        most = [
            ceilings(replace(load, nodes=count), cost)["a node does all its work on one thread"] for count in counts
        ]
        curves.append(Curve(name, counts, most))
    return Picture(
        "most-matches",
        "Most matches before the nodes' threads are full",
        "nodes",
        "matches a second",
        curves,
        log_x=True,
        log_y=True,
        limit=(WANTED.matches_s, "wanted"),
    )


def refused(seconds: float) -> Picture:
    """Of one model's asks: as many as a model has, at the rate that a model sees."""
    stale_ms = [5, 20, 50, 100, 200, 500, 1_000]
    curves = []
    for busy, sameness in ((0.25, 0.3), (0.25, 0.9), (0.8, 0.3), (0.8, 0.9)):
        shares = [_refused(WANTED, late, busy, sameness, seconds) for late in stale_ms]
        curves.append(
            Curve(f"{busy:.0%} of slots taken, bids {'alike' if sameness > 0.5 else 'diverse'}", stale_ms, shares)
        )
    return Picture(
        "refused",
        "Claims refused because a node had not heard yet",
        "staleness, ms",
        "share of claims",
        curves,
        log_x=True,
    )


def _refused(load: Load, late_ms: float, busy: float, sameness: float, seconds: float) -> float:
    asks, order_s = 200, 2.0
    market = Market(asks, load.slots_an_ask, load.nodes, late_ms / 1_000, sameness)
    return market.run(busy * asks * load.slots_an_ask / order_s, order_s, seconds).refused_share


def cost_a_million(cost: Calibration) -> Picture:
    rates = list(np.geomspace(1e2, 1e5, 10))
    costs = [price(replace(WANTED, matches_s=rate), cost) for rate in rates]
    parts = ("dynamodb", "redis", "nodes", "traffic")
    curves = [Curve(part, rates, [getattr(each, part) for each in costs]) for part in parts]
    return Picture(
        "cost",
        "Cost of a million matches, with all providers reporting",
        "matches a second",
        "US dollars",
        curves,
        log_x=True,
        log_y=True,
    )
