"""When the exchange last heard this agent, as far as the agent can tell. Pure."""

import time
from collections.abc import Callable


class Contact:
    """Counts from when an answered report was sent: an answer that was long on its way says nothing about now."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._heard_s = now_s()
        # The oldest report that waits for its answer, and when it was sent. An answer to a later one answers it too.
        self._waiting: tuple[int, float] | None = None

    def now_s(self) -> float:
        return self._now_s()

    def heard(self, at_s: float) -> None:
        """The exchange has answered something that was sent at `at_s`, in the time of `now_s`."""
        self._heard_s = max(self._heard_s, at_s)

    def sent(self, sequence: int) -> None:
        """The report of this number is on its way."""
        if self._waiting is None:
            self._waiting = sequence, self._now_s()

    def answered(self, sequence: int) -> None:
        """The exchange has taken in the report of this number, and so all before it."""
        if self._waiting is not None and sequence >= self._waiting[0]:
            self.heard(self._waiting[1])
            self._waiting = None

    def lost(self) -> None:
        """The line is broken: what was sent on it will not be answered."""
        self._waiting = None

    def silent_ms(self) -> float:
        """For how long the exchange may not have heard this agent."""
        return (self._now_s() - self._heard_s) * 1_000
