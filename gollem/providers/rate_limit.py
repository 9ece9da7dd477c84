"""How many orders a minute a provider takes."""

from dataclasses import dataclass

_SLOTS = 60


@dataclass(frozen=True, slots=True)
class RateStatus:
    """`remaining` orders now; `retry_after_ms` until one more is allowed, 0 if one is."""

    limit: int
    remaining: int
    retry_after_ms: int


class SlidingWindow:
    """At most `limit` events in any `window_ms`, in constant memory.

    Events are counted in 60 slots; a slot leaves the window as a whole once it is entirely out of it, so the limit is
    never exceeded, and is at most a sixtieth of the window slow to recover. Times are monotonic milliseconds.
    """

    def __init__(self, limit: int, window_ms: int = 60_000) -> None:
        self._limit = limit
        self._slot_ms = window_ms // _SLOTS
        # One slot more than the window has, for the one that is partly in it.
        self._counts = [0] * (_SLOTS + 1)
        self._newest = 0
        self._sum = 0

    @property
    def limit(self) -> int:
        return self._limit

    def allows(self, now_ms: int) -> bool:
        self._advance(now_ms)
        return self._sum < self._limit

    def add(self, now_ms: int) -> None:
        """Count one event."""
        self._advance(now_ms)
        self._counts[self._newest % len(self._counts)] += 1
        self._sum += 1

    def undo(self, now_ms: int) -> None:
        """Take one event back, the latest still counted. What has left the window already stays gone."""
        self._advance(now_ms)
        for back in range(len(self._counts)):
            index = (self._newest - back) % len(self._counts)
            if self._counts[index]:
                self._counts[index] -= 1
                self._sum -= 1
                return

    def status(self, now_ms: int) -> RateStatus:
        self._advance(now_ms)
        remaining = max(self._limit - self._sum, 0)
        return RateStatus(self._limit, remaining, 0 if remaining else self._wait_ms(now_ms))

    def with_limit(self, limit: int) -> "SlidingWindow":
        """The same events under another limit."""
        other = SlidingWindow(limit, self._slot_ms * _SLOTS)
        other._counts, other._newest, other._sum = self._counts.copy(), self._newest, self._sum
        return other

    def _wait_ms(self, now_ms: int) -> int:
        """Until so many of the oldest events are out that one more fits."""
        excess = self._sum - self._limit + 1
        for slot in range(self._newest - _SLOTS, self._newest + 1):
            excess -= self._counts[slot % len(self._counts)]
            if excess <= 0:
                return (slot + len(self._counts)) * self._slot_ms - now_ms
        return 0

    def _advance(self, now_ms: int) -> None:
        """Empty the slots that have left the window."""
        newest = now_ms // self._slot_ms
        for slot in range(max(self._newest + 1, newest - _SLOTS), newest + 1):
            index = slot % len(self._counts)
            self._sum -= self._counts[index]
            self._counts[index] = 0
        self._newest = max(self._newest, newest)
