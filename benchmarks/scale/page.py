"""docs/scale.md, out of the figures: what is wanted, what that takes, where it breaks, and how far the model is off."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scale.calibration import Calibration
from benchmarks.scale.fleet import BUSY, TABLE_WRITE_UNITS_S, ceilings, needs, price, prices
from benchmarks.scale.load import Load
from benchmarks.scale.refusals import Refusals
from benchmarks.scale.staleness import Staleness
from benchmarks.scale.sweeps import Picture
from benchmarks.scale.validate import Check

_HEAD = """# How far it scales
`make simulate-scale` writes this page: a model of discrete events, fed with what the parts cost on one machine
(`benchmarks/scale/calibration.toml`; `CALIBRATE=1` measures anew, and compares the model with small real runs). What it
says beyond two nodes is a forecast, and no measurement.
"""
_HELPS = """## What would move it
Every node hears everything, so nodes add no room for what is told: that is the first limit, whatever Redis does. In the
order of what it would bring: nodes that follow some of the models only, and clients that are sent to the right ones;
reports that are told on only when they change something; changes read in the compiled core. Redis is busy with calls
rather than with what is in them: fewer partitions and a longer `nodes.flush_ms` come before more shards.
DynamoDB's write units are most of the cost: an order has two transactions, and each item in one counts twice.
"""
_PRICES = "List prices of AWS, us-east-1:"
_ASSUMED = """## What is assumed
- Costs add up: twice the calls cost twice the CPU. Caches, the kernel's queues and the hypervisor are not modelled.
- A shard of Redis is one thread of this machine's speed. Threads of Redis for input and output are off.
- Traffic is spread evenly over partitions and nodes; orders come at random (Poisson) and last as long as each other on
  average. A model that is in fashion makes one partition busier than the others: `hot_share` in
  `benchmarks/scale/load.py`.
- One report a second comes from each provider. Agents report for each ask today: ten asks that report every second each
  would be ten times as many changes.
- Every match is told to all nodes three times (sent, begun, ended), and asks Redis three times (claim, renew, release).
- The edge (gRPC, TLS, identity) is not in the figures. One core answers about 4,900 plain calls a second, so a match
  and its settlement add about 0.4 ms of CPU.
- DynamoDB takes what it is given; write units are without its indexes, which add to them. No hold shares a write with
  another user's.
- Two of three nodes are in another availability zone than a shard they talk to.
- Of an order's refusals, only a late view is modelled. In the picture of refused claims each model has 200 asks.
"""


@dataclass(frozen=True)
class Forecast:
    """Of one load."""

    load: Load
    late: Staleness
    refusals: Refusals


def page(
    wanted: Forecast, held: Forecast, cost: Calibration, pictures: Sequence[Picture], checks: Sequence[Check]
) -> str:
    parts = [
        _HEAD,
        _answer(wanted.load, cost),
        _takes([wanted, held], cost),
        _breaks(wanted.load, held.load, cost),
        _HELPS,
        _curves(pictures),
        _money([wanted.load, held.load], cost),
        _checked(checks),
        _ASSUMED,
        _measured(cost),
    ]
    return "\n".join(parts)


def _answer(load: Load, cost: Calibration) -> str:
    of = needs(load, cost)
    first, most = next(iter(ceilings(load, cost).items()))
    verdict = "does not hold" if most < load.matches_s else "holds"
    return (
        f"**{load.providers:,} providers at {load.reports_s:g} report a second, {load.asks:,} asks, {load.nodes} nodes "
        f"and {load.matches_s:,.0f} matches a second: it {verdict}.** What ends first: {first}, {_at_most(most)}. "
        f"A node would need {of.cores_a_node:.1f} threads, and has one.\n"
    )


def _at_most(most: float) -> str:
    return f"at {most:,.0f} matches a second" if most else "before the first match"


def _takes(forecasts: Sequence[Forecast], cost: Calibration) -> str:
    columns = [_column(each, cost) for each in forecasts]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    return _table("## What it takes", ("what", "wanted", "held by the same nodes"), rows)


def _column(forecast: Forecast, cost: Calibration) -> dict[str, str]:
    load, late, of = forecast.load, forecast.late, needs(forecast.load, cost)
    nodes = f"{of.hear_cores_a_node:.2f} + {of.tell_cores_a_node:.3f} + {of.order_cores_a_node:.2f} cores"
    quota = of.write_units / TABLE_WRITE_UNITS_S
    waits = f"{late.p50_ms:.0f} / {late.p99_ms:.0f} ms", f"{forecast.refusals.refused_share:.1%} of claims"
    grows = "grows as long as the load lasts", "not to be said"
    return {
        "providers, asks": f"{load.providers:,}, {load.asks:,}",
        "matches": f"{load.matches_s:,.0f} a second, {of.busy_share:.0%} of all slots taken",
        "changes that each node hears": f"{load.changes_s:,.0f} a second",
        "a node: hearing, telling, its own orders": nodes,
        "Redis": f"{of.redis_cores:.1f} busy cores: {of.shards} shards at {BUSY:.0%}, of {load.partitions} partitions",
        "into Redis, out of it": f"{of.redis_in_bytes / 1e6:,.0f} MB/s, {of.redis_out_bytes / 1e6:,.0f} MB/s",
        "memory of Redis": f"{of.redis_memory_bytes / 1e9:.2f} GB",
        "a new node reads": f"{load.asks * cost.snapshot_bytes / 1e9:.2f} GB",
        "staleness p50 / p99": grows[0] if late.falls_behind else waits[0],
        "refused for a late view": grows[1] if late.falls_behind else waits[1],
        "DynamoDB": f"{of.write_units:,.0f} write units a second, {quota:.1f} times a table's default quota",
    }


def _breaks(wanted: Load, held: Load, cost: Calibration) -> str:
    most = ceilings(held, cost)
    rows = [(name, _rate(value), _rate(most[name])) for name, value in ceilings(wanted, cost).items()]
    title = f"## Where it breaks, first to last, with {wanted.nodes} nodes"
    return _table(title, ("limit", "matches a second, providers as wanted", "providers as held"), rows)


def _rate(most: float) -> str:
    return f"{most:,.0f}" if most else "none"


def _curves(pictures: Sequence[Picture]) -> str:
    return "## Curves\n" + "\n".join(f"![{each.title}](scale/{each.file}.svg)\n" for each in pictures)


def _money(loads: Sequence[Load], cost: Calibration) -> str:
    parts = {
        "DynamoDB, on demand": lambda of: of.dynamodb,
        "Redis, each shard with a replica": lambda of: of.redis,
        "nodes, by busy cores, one at least": lambda of: of.nodes,
        "traffic between zones": lambda of: of.traffic,
        "together": lambda of: of.total,
    }
    capacity_usd = cost.write_units * prices()["dynamodb_capacity"]["usd"] * 1e6 / 3_600 / BUSY
    costs = [price(load, cost) for load in loads]
    rows = [(name, *(f"{part(of):.2f}" for of in costs)) for name, part in parts.items()]
    rows.append((f"DynamoDB instead with provisioned units, {BUSY:.0%} used", *[f"{capacity_usd:.2f}" for _ in loads]))
    listed = [(f"{entry['usd']} a {entry['a']}", str(entry["source"])) for entry in prices().values()]
    head = "## Cost of a million matches, US dollars"
    return "\n".join([_table(head, ("what", "wanted", "held"), rows), _table(_PRICES, ("price", "source"), listed)])


def _checked(checks: Sequence[Check]) -> str:
    rows = [
        (f"{each.what}, {each.unit}", f"{each.real:.3g}", f"{each.model:.3g}", f"{each.ratio:.2f}") for each in checks
    ]
    return _table("## The model beside small real runs", ("what", "real", "model", "model / real"), rows)


def _measured(cost: Calibration) -> str:
    return (
        f"## How it was measured\nOn {cost.made}: {cost.machine}, Redis {cost.redis_version}, DynamoDB Local, at a "
        f"load average of {cost.load_average:.1f}. On a machine that does other things as well, CPU times come out too "
        f"high, so needs are rather over- than understated; and what takes its time by the clock (claims a second, "
        f"above) says more of the machine than of the parts.\n"
    )


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [title, "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
