"""How often an account may call: a token bucket each, in step with those that other nodes keep of the same account.

Each node has the whole bucket, and takes out of it what the account did anywhere: here at once, elsewhere when `heard`
has told, at the next `share`. So over any longer time an account has its rate once, however many nodes it calls. From
one `share` to the next a node gives out only its part of what there is and of what comes in, by how often the account
asks here and elsewhere; otherwise all nodes would give out the same tokens, and then none until that is worked off.
"""

from collections import OrderedDict
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice

from gollem.clock import Clock

_ACCOUNTS_KEPT = 100_000
_MOST_TOLD = 1_000
_LOOKED_AT_ONCE = 5_000  # some milliseconds' work, and more accounts than a node serves in a second
_TOLD_FROM = 100  # what is less than this part of a second's calls waits until it is more
_LONGEST_DEBT_S = 60  # nobody is shut out for longer by what it did elsewhere
_LOOK_AGAIN_MS = 1_000  # who has to wait for another part of the rate learns of it by asking again


@dataclass(slots=True)
class _Bucket:
    """Tokens are counted in thousandths, so that a millisecond's refill is an integer; below 0 is what others took."""

    tokens: int  # this node's part
    at_ms: int  # up to when it is refilled
    per_second: int  # of its refill until the next share
    shared_ms: int
    aside: int = 0  # tokens: the others' part
    asked: int = 0  # here, since then
    others_calls: int = 0  # elsewhere, likewise
    others_asked: int = 0
    wants: int = 0  # calls a thousand seconds, lately: here
    others_want: int = 0  # and elsewhere
    untold_calls: int = 0
    untold_asked: int = 0


@dataclass(frozen=True, slots=True)
class Use:
    """What an account did at one node: how often it asked, and how many of these calls were admitted."""

    account: str
    calls: int
    asked: int


class RateLimiter:
    """Token buckets by account: `per_second` on average, `burst` at once.

    A bucket is full again after burst / per_second seconds, so forgetting the least recently used one of 100,000 gives
    nobody more than that.
    """

    def __init__(self, per_second: int, burst: int, clock: Clock) -> None:
        self.per_second = per_second
        self._full = burst * 1_000
        self._told_from = max(1, per_second // _TOLD_FROM)
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._stirred: dict[str, _Bucket] = {}  # those that the next `share` has to look at

    def spend(self, account: str) -> int:
        """Take one token. Returns 0, or the milliseconds until there is one, and then nothing was taken."""
        bucket = self._bucket(account)
        bucket.asked += 1
        bucket.untold_asked += 1
        if bucket.tokens >= 1_000:
            bucket.tokens -= 1_000
            bucket.untold_calls += 1
            return 0
        wait_ms = -((bucket.tokens - 1_000) // bucket.per_second)
        return wait_ms if bucket.per_second == self.per_second else min(wait_ms, _LOOK_AGAIN_MS)

    def heard(self, use: Use) -> None:
        """Another node tells."""
        bucket = self._bucket(use.account)
        bucket.others_calls += max(0, use.calls)
        bucket.others_asked += max(0, use.asked)

    def share(self) -> list[Use]:
        """Take in what was heard, and return what others have to hear. To be called every second or so."""
        now_ms = self._clock.monotonic_ms()
        asked = []
        for account in list(islice(self._stirred, _LOOKED_AT_ONCE)):
            bucket = self._stirred.pop(account)
            self._settle(bucket, now_ms)
            if bucket.per_second != self.per_second or bucket.untold_asked:
                self._stirred[account] = bucket  # last: the next call begins with those that this one left out
            if bucket.untold_asked >= self._told_from:
                asked.append((bucket.untold_asked, account))
        busiest = nlargest(_MOST_TOLD, asked)
        return [self._told(account) for _, account in busiest]

    def _bucket(self, account: str) -> _Bucket:
        """The account's, refilled, and now the last to be forgotten."""
        now_ms = self._clock.monotonic_ms()
        bucket = self._buckets.get(account)
        if bucket is None:
            bucket = self._buckets[account] = _Bucket(self._full, now_ms, self.per_second, now_ms)
            if len(self._buckets) > _ACCOUNTS_KEPT:
                forgotten, _ = self._buckets.popitem(last=False)
                self._stirred.pop(forgotten, None)
        self._buckets.move_to_end(account)
        self._stirred[account] = bucket
        self._refill(bucket, now_ms)
        return bucket

    def _refill(self, bucket: _Bucket, now_ms: int) -> None:
        room = self._full - max(0, bucket.aside)
        bucket.tokens = min(room, bucket.tokens + (now_ms - bucket.at_ms) * bucket.per_second)
        bucket.at_ms = now_ms

    def _settle(self, bucket: _Bucket, now_ms: int) -> None:
        """What there is in all, with the whole refill and less what others took; and this node's part of it."""
        self._refill(bucket, now_ms)
        passed_ms = now_ms - bucket.shared_ms
        aside = bucket.aside + (self.per_second - bucket.per_second) * passed_ms
        whole = min(self._full, bucket.tokens + aside) - bucket.others_calls * 1_000
        whole = max(whole, -_LONGEST_DEBT_S * self.per_second * 1_000)
        # Halved each time: between two looks another node tells twice now and then, or not at all.
        bucket.wants = (bucket.wants + bucket.asked * 1_000_000 // max(1, passed_ms)) // 2
        bucket.others_want = (bucket.others_want + bucket.others_asked * 1_000_000 // max(1, passed_ms)) // 2
        bucket.per_second = self._part(bucket)
        bucket.tokens = whole * bucket.per_second // self.per_second
        bucket.aside = whole - bucket.tokens
        bucket.shared_ms = now_ms
        bucket.asked = bucket.others_calls = bucket.others_asked = 0

    def _part(self, bucket: _Bucket) -> int:
        """By how often it is asked here; or what others do not ask for, if that is more. Never 0, to be divided by."""
        all_want = bucket.wants + bucket.others_want
        by_asking = self.per_second * bucket.wants // all_want if all_want else self.per_second
        return max(1, by_asking, self.per_second - bucket.others_want // 1_000)

    def _told(self, account: str) -> Use:
        bucket = self._stirred[account]
        use = Use(account, bucket.untold_calls, bucket.untold_asked)
        bucket.untold_calls = bucket.untold_asked = 0
        return use
