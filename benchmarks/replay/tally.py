"""Everything that is counted during a replay, and how it is shown."""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

from benchmarks.replay.orders import Fate
from gollem import units
from gollem.cli import output


@dataclass
class Tally:
    """Money in atoms, times in ms. `spreads` are the shares by which the price taken was above the cheapest."""

    match_ms: list[float] = field(default_factory=list)
    matched: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    excluded_by: Counter[str] = field(default_factory=Counter)
    fates: Counter[Fate] = field(default_factory=Counter)
    spreads: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    held_atoms: int = 0
    charged_atoms: int = 0
    fees_atoms: int = 0
    returned_atoms: int = 0  # told by settlements and cancellations
    refunded_atoms: int = 0  # what balances have again, read when nothing is held any more
    open_atoms: int = 0  # still held at the end: must be none
    broken: int = 0  # calls that ended otherwise than a refusal
    audit_ok: bool = False
    findings: Sequence[str] = ()

    @property
    def adds_up(self) -> bool:
        """Every credit held is charged or back, by the balances themselves."""
        return self.held_atoms == self.charged_atoms + self.refunded_atoms and not self.open_atoms and not self.broken

    def refuse(self, reason: str, figures: dict[str, str]) -> None:
        """Count a refusal once under each limit that kept an ask away; under its reason where there is none."""
        self.refused += 1
        self.reasons[reason] += 1
        limits = [name.removeprefix("excluded_by.") for name, count in figures.items() if _excludes(name, count)]
        self.excluded_by.update(limits or [reason.lower()])

    def quantile_ms(self, share: float) -> float:
        """Of the time that Match took, refusals included; 0 without any."""
        ordered = sorted(self.match_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def as_json(self) -> str:
        """One line; credits as decimal strings."""
        return json.dumps(
            {
                "matched": self.matched,
                "refused": self.refused,
                "excluded_by": dict(self.excluded_by.most_common()),
                "p50_ms": round(self.quantile_ms(0.50), 3),
                "p99_ms": round(self.quantile_ms(0.99), 3),
                "held": units.format_fixed(self.held_atoms),
                "charged": units.format_fixed(self.charged_atoms),
                "refunded": units.format_fixed(self.refunded_atoms),
                "fees": units.format_fixed(self.fees_atoms),
                "audit_ok": self.audit_ok,
            }
        )

    def tables(self) -> list[Table]:
        """For people."""
        return [self._orders(), self._limits(), self._spread(), self._money()]

    def _orders(self) -> Table:
        shown = output.table("orders", "", right=("",))
        shown.add_row("matched", f"{self.matched:,}")
        for fate in Fate:
            shown.add_row(f"  {fate.value}", f"{self.fates[fate]:,}")
        shown.add_row("refused", f"{self.refused:,}")
        for reason, count in self.reasons.most_common():
            shown.add_row(f"  {reason}", f"{count:,}")
        shown.add_row("broken calls", f"{self.broken:,}")
        shown.add_row("Match p50 / p99", f"{self.quantile_ms(0.50):.2f} / {self.quantile_ms(0.99):.2f} ms")
        return shown

    def _limits(self) -> Table:
        shown = output.table("refused bids, by every limit that kept an ask away", "bids", right=("bids",))
        for limit, count in self.excluded_by.most_common():
            shown.add_row(limit, f"{count:,}")
        return shown

    def _spread(self) -> Table:
        columns = ("quotes", "mean", "median", "most")
        shown = output.table("cost above the cheapest feasible ask, by policy", *columns, right=columns)
        for policy, shares in sorted(self.spreads.items()):
            figures = (statistics.mean(shares), statistics.median(shares), max(shares))
            shown.add_row(policy, f"{len(shares):,}", *(f"{100 * figure:.1f} %" for figure in figures))
        return shown

    def _money(self) -> Table:
        shown = output.table("money", "credits", "USD", right=("credits", "USD"))
        rows = (
            ("held", self.held_atoms),
            ("charged", self.charged_atoms),
            ("refunded", self.refunded_atoms),
            ("fees, within the charge", self.fees_atoms),
            ("still held", self.open_atoms),
        )
        for name, value in rows:
            shown.add_row(name, units.format_fixed(value), units.format_usd(value))
        return shown


def _excludes(name: str, count: str) -> bool:
    return name.startswith("excluded_by.") and count != "0"
