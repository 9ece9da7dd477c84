"""How a run is told: a line of JSON a fault on stdout, a table for people on stderr."""

import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from tests.chaos.run import Outcome, Row


def tell(outcome: Outcome) -> None:
    screen = Console(file=sys.stderr)
    for row in outcome.rows:
        print(json.dumps(_line(row)), flush=True)
    screen.print(_table(outcome))
    screen.print(f"{outcome.orders} orders in the ledger, {outcome.charged} charged")
    for line in outcome.broken:
        screen.print(f"BROKEN: {line}", style="bold red", markup=False)
    for row in outcome.rows:
        if not row.reached:
            screen.print(f"MISSED: {row.fault}: {_why(row)}", style="bold red", markup=False)
    if is_good(outcome):
        screen.print("every promise was kept", style="bold")


def is_good(outcome: Outcome) -> bool:
    return not outcome.broken and all(row.reached for row in outcome.rows)


def _line(row: Row) -> dict[str, object]:
    facts = asdict(row)
    facts |= {name: round(facts[name], 3) for name in ("stalled_s", "recovered_s")}
    said = {
        name: facts[name]
        for name in ("stalled_s", "recovered_s", "answers", "repeats", "oversold", "degraded", "trouble", "broken")
    }
    figure = {"value": round(row.gap_s, 3), "unit": "s", "target": row.target_s, "reached": row.reached}
    return {"bench": "chaos", "case": row.fault, **figure, **said}


def _table(outcome: Outcome) -> Table:
    """Fits 80 columns; what else was measured is in the lines of JSON."""
    table = Table(title="chaos")
    table.add_column("fault", min_width=20)
    for name in ("gap", "target", "answers", "repeats", "oversold"):
        table.add_column(name, justify="right")
    table.add_column("kept")
    for row in outcome.rows:
        target = "-" if row.target_s is None else f"< {row.target_s:g} s"
        figures = (f"{row.gap_s:.2f} s", target, str(row.answers), str(row.repeats), str(row.oversold))
        table.add_row(row.fault, *figures, "yes" if row.reached else "no")
    return table


def _why(row: Row) -> str:
    return "; ".join(row.broken or ["too long"])
