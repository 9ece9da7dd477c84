"""Redis's time as this node knows it, and fences of this node's own for when Redis can give none."""

from gollem.clock import Clock


class SharedTime:
    """Until Redis has told its time, the node's wall clock stands for it; then only its monotonic one counts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_us: int | None = None  # of Redis's time before the node's monotonic one
        self._last_fence = 0

    def told(self, redis_us: int, asked_ms: int) -> None:
        """Redis has said what time it is, in microseconds, after it was asked at this monotonic time. The answer's way
        is counted in, so that what is made of it is rather late than early: never below a fence that Redis gave."""
        self._ahead_us = redis_us - asked_ms * 1_000 + 1_000

    def now_ms(self) -> int:
        return self._now_us() // 1_000

    def age_ms(self, at_ms: int) -> int:
        """How long ago it was; never negative, since a reply may have taken a while."""
        return max(0, self.now_ms() - at_ms)

    def granted(self, fence: int) -> None:
        """Redis gave this fence: those of this node's own are to be higher."""
        self._last_fence = max(self._last_fence, fence)

    def next_fence(self) -> int:
        """Above all that this node has seen, and comparable to what Redis would give."""
        self._last_fence = max(self._last_fence + 1, self._now_us())
        return self._last_fence

    def _now_us(self) -> int:
        if self._ahead_us is None:
            return self._clock.now_ms() * 1_000
        return self._clock.monotonic_ms() * 1_000 + self._ahead_us
