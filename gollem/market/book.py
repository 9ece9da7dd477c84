"""The order book's promise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gollem.market.types import Ask, Bid, Block, Depth, Match, Offer, Quote, Rejection


@dataclass(frozen=True, slots=True)
class Report:
    """New figures of one ask. Latency and speed are effective ones: measured if `measured`, else promised."""

    key: str
    latency_us: int
    tpot_ns: int
    measured: bool
    capacity_tokens: int
    capacity_slots: int


class OrderBook(Protocol):
    """Asks in, matches out. Synchronous and without a clock: nothing here waits or looks at the time."""

    def place(self, ask: Ask) -> None:
        """Add an ask, or change the one of the same key, which keeps its age, its claims and its blocks.

        An ask that moves to another model or GPU type becomes the youngest, but keeps its claims and blocks. Its own
        figures replace those of earlier reports. Raises InvalidField, UnknownModel; then nothing has changed."""

    def remove(self, key: str) -> bool:
        """Take an ask out. False if there is none. Its claims are forgotten: releasing them later does nothing."""

    def ask(self, key: str) -> Ask | None:
        """The ask of this key as it was placed (with the figures of later reports not applied)."""

    def offer(self, key: str, bid: Bid) -> Offer | None:
        """This ask as this bid would see it, feasible or not; None if the book has no such ask of the bid's model."""

    def update(self, reports: Sequence[Report]) -> int:
        """Apply new figures, all in one call of the core; unknown keys are passed over. Returns how many applied.
        Raises InvalidField if a figure is out of its bounds; then nothing has changed."""

    def block(self, key: str, reason: Block) -> None:
        """Keep an ask from being matched until every reason is lifted. Unknown keys are passed over."""

    def unblock(self, key: str, reason: Block) -> None:
        """Lift one reason."""

    def blocks(self, key: str) -> frozenset[Block]:
        """The reasons that hold now."""

    def match(self, bid: Bid, alternates: int = 3) -> Match | Rejection:
        """Pick the winner by the bid's policy and claim its capacity. With `alternates` 0 the front is not computed.
        Asks of equal terms are all on the front; the older wins. Raises InvalidField, UnknownModel."""

    def claim(self, key: str, tokens: int) -> bool:
        """Claim one slot and `tokens` of an ask without a match, even below zero: an order that already runs there.
        False if the ask is unknown."""

    def release(self, key: str, tokens: int) -> bool:
        """Give one slot and `tokens` back, never more than is claimed. False if the ask is unknown."""

    def quote(self, bid: Bid) -> Quote:
        """The whole front. Changes nothing."""

    def depth(self, model: str) -> Depth:
        """The model's side of the book."""

    def __len__(self) -> int:
        """Asks in the book."""
