"""How long to wait before another try: longer each time, never longer than a bound, never in step with others."""

import random


class Backoff:
    """Doubles from `first_ms` to `most_ms`; each pause is drawn between half of it and all of it."""

    def __init__(self, first_ms: int = 100, most_ms: int = 10_000, rng: random.Random | None = None) -> None:
        self._first_ms = first_ms
        self._most_ms = most_ms
        self._rng = rng or random.Random()  # noqa: S311
        self._next_ms = first_ms

    def pause_s(self) -> float:
        """Seconds to wait now; the next pause will be longer."""
        pause_ms = self._next_ms * self._rng.uniform(0.5, 1.0)
        self._next_ms = min(2 * self._next_ms, self._most_ms)
        return pause_ms / 1_000

    def reset(self) -> None:
        """It worked: begin anew."""
        self._next_ms = self._first_ms
