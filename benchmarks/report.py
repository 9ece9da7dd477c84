"""How a benchmark speaks: one JSON line a case, and a table of all of them."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

_PIPED_WIDTH = 160


@dataclass
class Case:
    """One figure, beside its peer's or its limit's where there is one. `ratio` says how many times as good."""

    bench: str
    case: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    target: float | None = None
    reached: bool | None = None


def more_is_better(
    bench: str, case: str, value: float, unit: str, peer: str, peer_value: float, target: float | None = None
) -> Case:
    ratio = value / peer_value
    return Case(bench, case, value, unit, peer, peer_value, ratio, target, None if target is None else ratio >= target)


def less_is_better(
    bench: str, case: str, value: float, unit: str, peer: str, peer_value: float, target: float | None = None
) -> Case:
    ratio = peer_value / value
    return Case(bench, case, value, unit, peer, peer_value, ratio, target, None if target is None else ratio >= target)


def tell(title: str, cases: Iterable[Case]) -> list[Case]:
    """Print each case as a line of JSON as it comes, and the table, to stderr, in the end."""
    done = []
    for case in cases:
        print(json.dumps(asdict(case)), flush=True)
        done.append(case)
    width = None if sys.stderr.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    Console(file=sys.stderr, width=width).print(_table(title, done))
    return done


def _table(title: str, cases: list[Case]) -> Table:
    table = Table("case", "value", "peer", "ratio", "target", "reached", title=title)
    for case in cases:
        table.add_row(
            case.case,
            f"{case.value:,.3g} {case.unit}" if case.value < 100 else f"{case.value:,.0f} {case.unit}",
            f"{case.peer} {case.peer_value:,.4g}" if case.peer_value is not None else case.peer,
            f"{case.ratio:,.2f}" if case.ratio is not None else "",
            f"{case.target:g}" if case.target is not None else "",
            {True: "yes", False: "no", None: ""}[case.reached],
        )
    return table
