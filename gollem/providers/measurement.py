"""What clients measured of an ask: rolling figures that replace the provider's promises."""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """Quantiles (nearest rank) over the samples kept: microseconds to the first token, nanoseconds per token."""

    samples: int
    latency_p50_us: int
    latency_p95_us: int
    latency_p99_us: int
    tpot_p50_ns: int | None


class _Quantiles:
    """A multiset with quick quantiles: 256 samples fit into a few cache lines, so a sorted list is the right tree."""

    def __init__(self) -> None:
        self._sorted: list[int] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, value: int) -> None:
        insort(self._sorted, value)

    def remove(self, value: int) -> None:
        del self._sorted[bisect_left(self._sorted, value)]

    def at(self, percent: int) -> int:
        """The least value that at least `percent` of all do not exceed."""
        rank = -(-len(self._sorted) * percent // 100)
        return self._sorted[max(rank, 1) - 1]


class Samples:
    """The last `kept` samples that are no older than `max_age_ms`. Times are monotonic milliseconds.

    Old samples leave, so that an ask which measured badly and is matched no more gets another chance.
    """

    def __init__(self, kept: int, max_age_ms: int) -> None:
        self._kept = kept
        self._max_age_ms = max_age_ms
        self._samples: deque[tuple[int, int, int | None]] = deque()
        self._latency = _Quantiles()
        self._tpot = _Quantiles()

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, now_ms: int, latency_us: int, tpot_ns: int | None) -> None:
        """One client's report. `tpot_ns` is None where there were too few tokens to tell."""
        self._samples.append((now_ms, latency_us, tpot_ns))
        self._latency.add(latency_us)
        if tpot_ns is not None:
            self._tpot.add(tpot_ns)
        if len(self._samples) > self._kept:
            self._drop_oldest()

    def expire(self, now_ms: int) -> None:
        """Forget what is too old."""
        while self._samples and now_ms - self._samples[0][0] >= self._max_age_ms:
            self._drop_oldest()

    def next_expiry_ms(self) -> int | None:
        return self._samples[0][0] + self._max_age_ms if self._samples else None

    def measured(self) -> Measured | None:
        """None without samples."""
        if not self._samples:
            return None
        return Measured(
            samples=len(self._samples),
            latency_p50_us=self._latency.at(50),
            latency_p95_us=self._latency.at(95),
            latency_p99_us=self._latency.at(99),
            tpot_p50_ns=self._tpot.at(50) if len(self._tpot) else None,
        )

    def _drop_oldest(self) -> None:
        _, latency_us, tpot_ns = self._samples.popleft()
        self._latency.remove(latency_us)
        if tpot_ns is not None:
            self._tpot.remove(tpot_ns)
