"""The benchmark of what being watched costs still runs."""

from benchmarks.bench_watch import measure


async def test_it_runs() -> None:
    found = await measure(calls=3, rounds=1)
    assert set(found) == {"metrics", "metrics and traces"}
    assert all(us > 0 and plain_us > 0 for us, plain_us in found.values())
