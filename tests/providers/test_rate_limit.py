"""The sliding window never lets more through than its limit, and recovers."""

from hypothesis import given
from hypothesis import strategies as st

from gollem.providers.rate_limit import SlidingWindow


def test_refuses_past_the_limit_and_says_when_to_come_back() -> None:
    window = SlidingWindow(2)
    window.add(0)
    window.add(30_000)
    assert not window.allows(30_000)
    wait_ms = window.status(30_000).retry_after_ms
    assert not window.allows(30_000 + wait_ms - 1)
    assert window.allows(30_000 + wait_ms)
    assert 30_000 <= wait_ms <= 31_000


def test_undo_gives_one_back() -> None:
    window = SlidingWindow(1)
    window.add(5)
    window.undo(2_000)
    assert window.status(2_000).remaining == 1
    window.undo(2_000)
    assert window.status(2_000).remaining == 1


def test_another_limit_keeps_the_count() -> None:
    window = SlidingWindow(3)
    window.add(0)
    window.add(0)
    assert not window.with_limit(2).allows(1)
    assert window.with_limit(3).allows(1)


@given(limit=st.integers(1, 5), gaps_ms=st.lists(st.integers(0, 40_000), max_size=60))
def test_no_minute_has_more_than_the_limit(limit: int, gaps_ms: list[int]) -> None:
    window, now_ms, taken = SlidingWindow(limit), 0, []
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        allowed = window.allows(now_ms)
        recent = sum(at > now_ms - 61_000 for at in taken)
        assert allowed or recent >= limit, "refused although a minute and a slot hold less than the limit"
        if allowed:
            window.add(now_ms)
            taken.append(now_ms)
        assert sum(at > now_ms - 60_000 for at in taken) <= limit
