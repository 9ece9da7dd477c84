"""A circuit breaker: enough failures within a window open it, after a pause one probe decides.

The three states are those of M. Nygard, "Release It!", 2007. Times are monotonic milliseconds and come from the caller.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum


class CircuitState(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class CircuitStatus:
    """What an observer sees. `retry_after_ms` is 0 unless open."""

    state: CircuitState
    failures: int
    retry_after_ms: int


class CircuitBreaker:
    """Decides whether a provider gets orders.

    `failures_to_open` failures within `window_ms` open it. After `open_ms` it is half open: one order is let through
    as a probe. Its success closes the circuit, its failure opens it again. A probe of which nothing is heard for
    `open_ms` makes room for another.
    """

    def __init__(self, failures_to_open: int, window_ms: int, open_ms: int) -> None:
        self._window_ms = window_ms
        self._open_ms = open_ms
        self._failures: deque[int] = deque(maxlen=failures_to_open)
        self._opened_at_ms: int | None = None
        self._probed_at_ms: int | None = None

    def allows(self, now_ms: int) -> bool:
        """Whether an order may go to this provider now."""
        if self._opened_at_ms is None:
            return True
        if now_ms - self._opened_at_ms < self._open_ms:
            return False
        return self._probed_at_ms is None or now_ms - self._probed_at_ms >= self._open_ms

    def order_sent(self, now_ms: int) -> None:
        """An order goes to this provider; half open, it is the probe."""
        if self._opened_at_ms is not None:
            self._probed_at_ms = now_ms

    def order_withdrawn(self) -> None:
        """The order just sent came to nothing through no fault of the provider: another may be the probe."""
        self._probed_at_ms = None

    def succeeded(self, now_ms: int) -> None:
        """An order ended well. While open, successes of orders that began before do not count."""
        if self._opened_at_ms is not None and self._probed_at_ms is not None:
            self._opened_at_ms = self._probed_at_ms = None
            self._failures.clear()

    def failed(self, now_ms: int) -> None:
        """An order failed."""
        self._failures.append(now_ms)
        if self._opened_at_ms is not None:
            if self._probed_at_ms is not None:
                self._opened_at_ms, self._probed_at_ms = now_ms, None
        elif len(self._failures) == self._failures.maxlen and now_ms - self._failures[0] < self._window_ms:
            self._opened_at_ms = now_ms

    def retracted(self, at_ms: int) -> None:
        """The failure of that moment was none. If it takes too many with it, the circuit closes again."""
        if at_ms not in self._failures:
            return
        self._failures.remove(at_ms)
        if self._probed_at_ms is None and len(self._failures) + 1 == self._failures.maxlen:
            self._opened_at_ms = None

    def next_change_ms(self) -> int | None:
        """When waiting alone will let the next order through; None while closed."""
        if self._opened_at_ms is None:
            return None
        since = self._opened_at_ms if self._probed_at_ms is None else self._probed_at_ms
        return since + self._open_ms

    def status(self, now_ms: int) -> CircuitStatus:
        recent = sum(now_ms - at < self._window_ms for at in self._failures)
        if self._opened_at_ms is None:
            return CircuitStatus(CircuitState.CLOSED, recent, 0)
        wait_ms = self._opened_at_ms + self._open_ms - now_ms
        if wait_ms > 0:
            return CircuitStatus(CircuitState.OPEN, recent, wait_ms)
        return CircuitStatus(CircuitState.HALF_OPEN, recent, 0)
