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

    requests: int = 0
    seconds: float = 0.0  # from the first order to the last one's end
    calls: int = 0  # of consumers and providers, without telemetry
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
    broken: int = 0  # orders that were neither matched nor refused: the call broke
    unsettled: Counter[str] = field(default_factory=Counter)  # matched, but their end was refused, by reason
    reported: int = 0
    at_once: int = 0  # calls, at most
    audit_ok: bool = False
    findings: Sequence[str] = ()

    @property
    def adds_up(self) -> bool:
        """Every request has one outcome, and every credit held is charged or back, by the balances themselves."""
        outcomes = self.matched + self.refused + self.broken == self.requests
        ends = sum(self.fates.values()) + self.unsettled.total() == self.matched
        money = self.held_atoms == self.charged_atoms + self.refunded_atoms and not self.open_atoms
        return outcomes and ends and money and not self.broken

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

    @property
    def calls_per_s(self) -> float:
        return self.calls / self.seconds if self.seconds else 0.0

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
                "broken": self.broken,
                "unsettled": self.unsettled.total(),
                "reported": self.reported,
                "calls_per_s": round(self.calls_per_s, 1),
            }
        )

    def tables(self) -> list[Table]:
        """For people."""
        return [self._orders(), self._speed(), self._limits(), self._spread(), self._money()]

    def _orders(self) -> Table:
        shown = output.table("orders", "", right=("",))
        shown.add_row("matched", f"{self.matched:,}")
        for fate in Fate:
            shown.add_row(f"  {fate.value}", f"{self.fates[fate]:,}")
        for reason, count in self.unsettled.most_common():
            shown.add_row(f"  not settled: {reason}", f"{count:,}")
        shown.add_row("refused", f"{self.refused:,}")
        for reason, count in self.reasons.most_common():
            shown.add_row(f"  {reason}", f"{count:,}")
        shown.add_row("broken", f"{self.broken:,}")
        shown.add_row("reported by their clients", f"{self.reported:,}")
        return shown

    def _speed(self) -> Table:
        """The figures of Match, and under which load they were taken."""
        shown = output.table("Match", "", right=("",))
        shown.add_row("p50 / p99", f"{self.quantile_ms(0.50):.2f} / {self.quantile_ms(0.99):.2f} ms")
        shown.add_row("load: calls of every kind", f"{self.calls_per_s:,.0f}/s")
        shown.add_row("  at once, at most", f"{self.at_once}")
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
