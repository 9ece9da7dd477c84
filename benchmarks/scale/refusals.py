"""Claims that are refused because the picking node had not yet heard what others had taken: event by event.

One model's asks and all nodes. A node picks the best ask that has room by its own view: what was announced so long ago
that it has been heard, and its own orders. Redis knows the truth and decides. A refusal lowers the node's view of that
ask until it next hears of it, and the next best is tried, a few times.
"""

import heapq
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

_TRIES = 4


@dataclass(frozen=True)
class Refusals:
    """`refused` claims of all, `rejected` bids that were refused every time or found nothing."""

    claims: int
    refused: int
    bids: int
    rejected: int

    @property
    def refused_share(self) -> float:
        return self.refused / max(1, self.claims)

    @property
    def rejected_share(self) -> float:
        return self.rejected / max(1, self.bids)


class Market:
    def __init__(
        self,
        asks: int,
        slots: int,
        nodes: int,
        stale_s: float,
        sameness: float,
        report_s: float = 1.0,
        seed: int = 7,
    ) -> None:
        """`sameness` is how alike bids are: 1, and all want the cheapest ask; 0, and each has its own favourite. Agents
        report every `report_s`, which undoes a lowered view."""
        self._report_s = report_s
        self._random = np.random.default_rng(seed)
        self._price = np.sort(self._random.uniform(0, 1, asks))
        self._free = np.full(asks, slots, dtype=np.int64)
        self._heard = self._free.copy()
        self._nodes = nodes
        self._stale_s = stale_s
        self._sameness = sameness
        self._unheard: list[dict[int, int]] = [defaultdict(int) for _ in range(nodes)]
        self._lowered: list[dict[int, float]] = [{} for _ in range(nodes)]
        self._events: list[tuple[float, int, str, int, int]] = []
        self._number = 0

    def run(self, bids_s: float, order_s: float, seconds: float) -> Refusals:
        """Bids come at random, at any node; orders last exponentially long. The first third is not counted."""
        claims = refused = bids = rejected = 0
        self._push(0.0, "bid", 0, 0)
        while self._events:
            now, _, kind, node, ask = heapq.heappop(self._events)
            if now > seconds:
                break
            if kind == "bid":
                self._push(
                    now + self._random.exponential(1 / bids_s), "bid", int(self._random.integers(self._nodes)), 0
                )
                tried, won = self._match(now, node, order_s)
                if now > seconds / 3:
                    claims, refused = claims + tried, refused + tried - won
                    bids, rejected = bids + 1, rejected + 1 - won
            elif kind == "end":
                self._free[ask] += 1
                self._tell(now, node, ask, 1)
            else:
                self._hear(kind, node, ask)
        return Refusals(claims, refused, bids, rejected)

    def _match(self, now: float, node: int, order_s: float) -> tuple[int, bool]:
        score = self._sameness * self._price + (1 - self._sameness) * self._random.uniform(0, 1, len(self._price))
        for tried in range(1, _TRIES + 1):
            ask = int(np.argmin(np.where(self._view(now, node) > 0, score, np.inf)))
            if self._view(now, node)[ask] <= 0:
                return tried - 1, False
            if self._free[ask] > 0:
                self._free[ask] -= 1
                self._tell(now, node, ask, -1)
                self._push(now + self._random.exponential(order_s), "end", node, ask)
                return tried, True
            self._lowered[node][ask] = now + self._random.uniform(0, self._report_s)
        return _TRIES, False

    def _view(self, now: float, node: int) -> np.ndarray:
        view = self._heard.copy()
        for ask, change in self._unheard[node].items():
            view[ask] += change
        lowered = self._lowered[node]
        for ask in [ask for ask, until in lowered.items() if until <= now]:
            del lowered[ask]
        view[list(lowered)] = 0
        return view

    def _tell(self, now: float, node: int, ask: int, change: int) -> None:
        """A node knows of its own at once; the others hear of it."""
        self._unheard[node][ask] += change
        self._push(now + self._stale_s, "+" if change > 0 else "-", node, ask)

    def _hear(self, kind: str, node: int, ask: int) -> None:
        change = 1 if kind == "+" else -1
        self._heard[ask] += change
        own = self._unheard[node]
        own[ask] -= change
        if not own[ask]:
            del own[ask]
        if change > 0:
            for lowered in self._lowered:
                lowered.pop(ask, None)

    def _push(self, at_s: float, kind: str, node: int, ask: int) -> None:
        self._number += 1
        heapq.heappush(self._events, (at_s, self._number, kind, node, ask))
