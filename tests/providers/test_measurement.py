"""Rolling quantiles equal those of a plain sort."""

import math

from hypothesis import given
from hypothesis import strategies as st

from gollem.providers.measurement import Samples

figures = st.tuples(st.integers(0, 300), st.integers(1, 10**9), st.none() | st.integers(1, 10**9))


def nearest_rank(values: list[int], percent: int) -> int:
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


@given(st.lists(figures, min_size=1, max_size=50))
def test_quantiles_are_those_of_the_samples_kept(steps: list[tuple[int, int, int | None]]) -> None:
    samples, now_ms = Samples(kept=10, max_age_ms=1_000), 0
    plain: list[tuple[int, int, int | None]] = []
    for gap_ms, latency_us, tpot_ns in steps:
        now_ms += gap_ms
        samples.add(now_ms, latency_us, tpot_ns)
        samples.expire(now_ms)
        plain = [entry for entry in [*plain, (now_ms, latency_us, tpot_ns)][-10:] if now_ms - entry[0] < 1_000]
        measured = samples.measured()
        assert measured is not None
        latencies = [entry[1] for entry in plain]
        speeds = [entry[2] for entry in plain if entry[2] is not None]
        assert measured.samples == len(samples) == len(plain)
        assert measured.latency_p50_us == nearest_rank(latencies, 50)
        assert measured.latency_p95_us == nearest_rank(latencies, 95)
        assert measured.latency_p99_us == nearest_rank(latencies, 99)
        assert measured.tpot_p50_ns == (nearest_rank(speeds, 50) if speeds else None)


def test_old_samples_leave() -> None:
    samples = Samples(kept=10, max_age_ms=1_000)
    samples.add(0, 5, None)
    assert samples.next_expiry_ms() == 1_000
    samples.expire(999)
    assert len(samples) == 1
    samples.expire(1_000)
    assert samples.measured() is None
