"""The parts that decide and do nothing: limits, budget, inbox, openings, faults."""

import asyncio
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import Buffer
from hypothesis import given, settings
from hypothesis import strategies as st

from grpclib_guard import Limits, fault, fault_info
from grpclib_guard.budget import Budget
from grpclib_guard.inbox import Inbox, Stalled, Truncated
from grpclib_guard.opening import Refused, read_opening


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_message_bytes": 0},
        {"max_connections": True},
        {"idle_timeout_ms": 1.5},
        {"stream_window_bytes": 1 << 31},
        {"pings_per_second": "20"},
        {"max_message_bytes": 64 << 20, "connection_window_bytes": 32 << 20},
        {"stream_window_bytes": 2 << 20, "connection_window_bytes": 1 << 20},
    ],
)
def test_limits_out_of_range_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^({'|'.join(wrong)}): must"):
        Limits(**wrong)


def test_budget_refills_with_time_and_never_overflows() -> None:
    now = 100.0
    budget = Budget(10, lambda: now)
    assert [budget.spend() for _ in range(12)] == [True] * 10 + [False] * 2
    now += 0.35
    assert [budget.spend() for _ in range(4)] == [True] * 3 + [False]
    now += 3_600
    assert sum(budget.spend() for _ in range(50)) == 10


@settings(max_examples=60, deadline=None)
@given(
    payload=st.binary(max_size=200),
    sizes=st.lists(st.integers(1, 40), max_size=20),
    cuts=st.lists(st.integers(1, 30), max_size=20),
    padding=st.integers(0, 5),
    early=st.booleans(),
)
def test_inbox_gives_bytes_in_order_and_every_window_byte_back(
    payload: bytes, sizes: list[int], cuts: list[int], padding: int, early: bool
) -> None:
    async def run() -> None:
        given_back: list[int] = []
        inbox = Inbox(given_back.append)
        used, rest = 0, payload

        async def feed() -> None:
            nonlocal used, rest
            for cut in [*cuts, 200]:
                part, rest = rest[:cut], rest[cut:]
                inbox.add(part, len(part) + padding)
                used += len(part) + padding
                await asyncio.sleep(0)
            inbox.eof()

        feeding = asyncio.ensure_future(feed())
        got = b""
        for size in sizes:
            try:
                chunk = await inbox.read(size, 5, early=early)
            except Truncated:
                assert len(payload) - len(got) < size
                break
            got += chunk
            assert len(chunk) == size or (not chunk and got == payload)
        await feeding
        assert payload.startswith(got)
        assert sum(given_back) <= used
        inbox.discard()
        assert sum(given_back) == used
        assert all(size > 0 for size in given_back)

    asyncio.run(run())


def _traced_bytes(fill: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        kept = fill()
        return tracemalloc.get_traced_memory()[0] if kept else 0
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("make", "least", "most"), [(Inbox, 5_000, 12_000), (Buffer, 300_000, 5_000_000)])
async def test_tiny_frames_cost_what_they_carry(make: Any, least: int, most: int) -> None:
    """A full window in frames of one byte: grpclib's own buffer takes 80 times their size."""

    def fill() -> object:
        box = make(lambda size: None)
        for n in range(5_000):
            box.add(b"%c" % (n % 256), 1)
        return box

    assert least <= _traced_bytes(fill) <= most


async def test_inbox_stops_waiting() -> None:
    inbox = Inbox(lambda size: None)
    inbox.add(b"ab", 2)
    with pytest.raises(Stalled):
        await inbox.read(3, 0.01)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([":method", ":path", "content-type", "grpc-timeout", "x", "x-bin", "grpc-x", "te", ""])
            | st.text(st.characters(max_codepoint=255), max_size=8),
            st.sampled_from(["POST", "/a/b", "application/grpc", "1S", "99999999H", "AAEC", "A", ""])
            | st.text(st.characters(max_codepoint=255), max_size=20),
        ),
        max_size=12,
    )
)
def test_whatever_headers_come_the_call_opens_or_is_refused(headers: list[tuple[str, str]]) -> None:
    good = [(":method", "POST"), (":path", "/a/b"), ("content-type", "application/grpc")]
    method: Any = object()
    for candidate in (headers, good + headers):
        try:
            opening = read_opening(candidate, {"/a/b": method})
        except Refused:
            continue
        assert opening.method is method
        for key, value in opening.metadata.items():
            assert isinstance(value, bytes) == key.endswith("-bin")


def test_fault_and_back() -> None:
    error = fault(Status.ABORTED, "BUSY", "try again", {"a": "1", "b": "é"}, "d", retry_after_ms=20)
    assert isinstance(error, GRPCError)
    assert (error.status, error.message) == (Status.ABORTED, "try again")
    assert fault_info(error) == ("BUSY", {"a": "1", "b": "é", "retry_after_ms": "20"})


@pytest.mark.parametrize("details", [None, [], ["strange"], b"raw"])
def test_error_without_details_has_no_reason(details: Any) -> None:
    assert fault_info(GRPCError(Status.ABORTED, "m", details)) == ("", {})


def test_fault_fits_into_trailers_whatever_it_is_told() -> None:
    error = fault(Status.ABORTED, "R", "\ud800é" * 9_999, {f"name{n}": "é" * 9_999 for n in range(99)})
    assert error.message is not None
    assert len(error.message.encode()) <= 512
    reason, figures = fault_info(error)
    assert reason == "R"
    assert 1 <= len(figures) < 10
    assert sum(len(name) + len(value.encode()) for name, value in figures.items()) <= 2_048
