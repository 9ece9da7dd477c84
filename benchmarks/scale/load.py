"""What is asked of a fleet, and how the fleet is set up."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """Rates are a second, over all nodes. Every match is told to the others three times: sent, begun, ended.

    `providers` report `reports_s` each. An order holds its slot for `order_s`. `partitions` and `flush_ms` are settings
    of the nodes. `hot_share` is the share of all asks and orders that the busiest partition has.
    """

    providers: int = 100_000
    reports_s: float = 1.0
    asks: int = 1_000_000
    nodes: int = 50
    matches_s: float = 100_000.0
    order_s: float = 10.0
    slots_an_ask: int = 4
    asks_a_model: int = 1_000
    partitions: int = 64
    flush_ms: float = 20.0
    hot_share: float = 1 / 64
    changes_a_match: int = 3
    calls_a_match: int = 3

    @property
    def changes_s(self) -> float:
        """Changes of the book that every node but the one that tells them has to hear."""
        return self.providers * self.reports_s + self.changes_a_match * self.matches_s

    @property
    def busy_share(self) -> float:
        """Of all slots, those that orders hold."""
        return self.matches_s * self.order_s / (self.asks * self.slots_an_ask)


# As the question was put, and a load that the same nodes hold.
WANTED = Load()
HELD = Load(providers=10_000, asks=100_000, matches_s=1_500.0, partitions=16, hot_share=1 / 16, asks_a_model=500)
