"""So many a second: what keeps a flood of frames or of log lines small."""

import time
from collections.abc import Callable


class Budget:
    """Lets `per_second` through each second, and as many at once after a rest."""

    __slots__ = ("_at", "_clock", "_left", "_per_second")

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left = float(per_second)
        self._at = clock()

    def spend(self) -> bool:
        """Whether one more is within the budget."""
        now = self._clock()
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
