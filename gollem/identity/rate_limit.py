"""How often an account may call: a token bucket each."""

from collections import OrderedDict

from gollem.clock import Clock

_ACCOUNTS_KEPT = 100_000


class RateLimiter:
    """Token buckets by account: `per_second` on average, `burst` at once.

    A bucket is full again after burst / per_second seconds, so forgetting the least recently used one of 100,000 gives
    nobody more than that.
    """

    def __init__(self, per_second: int, burst: int, clock: Clock) -> None:
        self.per_second = per_second
        # Tokens are counted in thousandths, so that a millisecond's refill is an integer.
        self._full = burst * 1_000
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def spend(self, account: str) -> int:
        """Take one token. Returns 0, or the milliseconds until there is one, and then nothing was taken."""
        now_ms = self._clock.monotonic_ms()
        tokens, at_ms = self._buckets.get(account, (self._full, now_ms))
        tokens = min(self._full, tokens + (now_ms - at_ms) * self.per_second)
        wait_ms = 0
        if tokens >= 1_000:
            tokens -= 1_000
        else:
            wait_ms = -((tokens - 1_000) // self.per_second)
        self._buckets[account] = (tokens, now_ms)
        self._buckets.move_to_end(account)
        if len(self._buckets) > _ACCOUNTS_KEPT:
            self._buckets.popitem(last=False)
        return wait_ms
