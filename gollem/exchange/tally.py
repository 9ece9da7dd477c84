"""What became of bids here, counted since the start for whoever watches."""

from collections import Counter
from collections.abc import Callable

from gollem.errors import GollemError

_EXCLUDED_BY = "excluded_by."


class Tally:
    """Bounded by models of the catalogue, a name for all others, reasons of errors and the limits of a bid."""

    def __init__(self, timed: Callable[[float], None] = lambda seconds: None) -> None:
        """`timed` hears how long each bid took that did not rest."""
        self.timed = timed
        self.matches: Counter[str] = Counter()  # by model
        self.refusals: Counter[tuple[str, str]] = Counter()  # by model and reason
        self.refusals_by_limit: Counter[tuple[str, str]] = Counter()  # by model and limit

    def matched(self, model: str) -> None:
        """A bid was matched and is held; not a replay."""
        self.matches[model] += 1

    def refused(self, model: str, error: GollemError) -> None:
        """A bid came to nothing. Each limit that excluded an ask is counted once."""
        self.refusals[model, error.reason] += 1
        for name in error.figures:
            if name.startswith(_EXCLUDED_BY):
                self.refusals_by_limit[model, name.removeprefix(_EXCLUDED_BY)] += 1
