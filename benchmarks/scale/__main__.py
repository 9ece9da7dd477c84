"""`python -m benchmarks.scale [--calibrate] [--seconds 30]`: writes docs/scale.md and its pictures."""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.scale import calibration
from benchmarks.scale.calibration import Calibration
from benchmarks.scale.fleet import needs
from benchmarks.scale.load import HELD, WANTED, Load
from benchmarks.scale.page import Forecast, page
from benchmarks.scale.refusals import Market
from benchmarks.scale.staleness import staleness
from benchmarks.scale.sweeps import pictures
from benchmarks.scale.validate import Check

_DOCS = Path(__file__).parents[2] / "docs"
_CHECKS = Path(__file__).with_name("checks.json")
_SAMENESS = 0.5


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--calibrate", action="store_true", help="measure the real parts anew, and check the model")
    parser.add_argument("--seconds", type=float, default=30.0, help="simulated time of each point of a curve")
    parser.add_argument("--docs", type=Path, default=_DOCS, help="where scale.md and scale/ go")
    parser.add_argument(
        "--quick", action="store_true", help="shows that it runs: one picture, and figures that mean nothing"
    )
    chosen = parser.parse_args(arguments)
    if chosen.calibrate:
        asyncio.run(_calibrate())
    write(chosen.docs, calibration.load(), *((0.1, 1) if chosen.quick else (chosen.seconds, None)))
    print(f"wrote {chosen.docs / 'scale.md'}", file=sys.stderr)


def write(docs: Path, cost: Calibration, seconds: float, drawn: int | None = None) -> None:
    """The page, and so many of its pictures; all if None."""
    from benchmarks.scale.draw import draw  # loads matplotlib, which takes a second

    folder = docs / "scale"
    folder.mkdir(parents=True, exist_ok=True)
    shown = pictures(cost, seconds)
    for picture in shown[:drawn]:
        draw(picture, folder)
    checks = [Check(**check) for check in json.loads(_CHECKS.read_text())]
    wanted, held = (_forecast(load, cost, seconds) for load in (WANTED, HELD))
    (docs / "scale.md").write_text(page(wanted, held, cost, shown, checks))


def _forecast(load: Load, cost: Calibration, seconds: float) -> Forecast:
    """Refusals are of one model, with as many asks and bids as it would have."""
    late = staleness(load, cost, needs(load, cost).shards, seconds=min(1.0, seconds / 10))
    models = load.asks / load.asks_a_model
    market = Market(load.asks_a_model, load.slots_an_ask, load.nodes, late.p50_ms / 1_000, _SAMENESS)
    return Forecast(load, late, market.run(load.matches_s / models, load.order_s, seconds))


async def _calibrate() -> None:
    from benchmarks.scale.calibrate import calibrate
    from benchmarks.scale.validate import validate

    cost = await calibrate()
    calibration.save(cost)
    checks = await validate(cost)
    _CHECKS.write_text(json.dumps([asdict(check) for check in checks], indent=2) + "\n")


if __name__ == "__main__":
    main()
