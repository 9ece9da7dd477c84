"""The parts that decide without doing: metering, events of the model server, what the exchange is told, the rest."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider_agent.backoff import Backoff
from provider_agent.completions import BadEvent, parse_event
from provider_agent.contact import Contact
from provider_agent.events import OrderEvents
from provider_agent.gpu import GpuReader
from provider_agent.grants import serving_ms
from provider_agent.journal import Earning, Journal, State
from provider_agent.metering import NOTHING, Meter, Outcome, Tokens
from provider_agent.options import BadOption, Options
from provider_agent.pb.inference_pb2 import GrantClaims
from provider_agent.refusals import Refusal
from provider_agent.sse import EventTooLong, SseParser

counts = st.integers(0, 2_000)


@given(counts, counts, counts, counts, counts, counts, st.sampled_from(Outcome))
def test_never_more_than_the_grant_and_nothing_for_nothing(
    prompt_max: int, made_max: int, prompt: int, deltas: int, told_prompt: int, told_made: int, outcome: Outcome
) -> None:
    meter = Meter(Tokens(prompt_max, made_max), prompt)
    for _ in range(deltas):
        meter.delivered()
    meter.told(Tokens(told_prompt, told_made))
    tokens = meter.tokens(outcome)
    assert tokens.prompt <= prompt_max
    assert tokens.completion <= made_max
    if outcome is not Outcome.COMPLETED and not deltas:
        assert tokens == NOTHING


def test_the_servers_own_count_goes_before_that_of_deltas() -> None:
    meter = Meter(Tokens(100, 100), 9)
    meter.delivered()
    assert meter.tokens(Outcome.CANCELLED) == Tokens(9, 1)
    meter.told(Tokens(10, 3))
    assert meter.tokens(Outcome.COMPLETED) == Tokens(10, 3)


@given(st.lists(st.integers(1, 40)), st.sampled_from([b"\n", b"\r\n"]))
def test_events_are_found_however_the_bytes_are_cut(cuts: list[int], end: bytes) -> None:
    lines = [b": comment", b"event: x", "data: é€".encode(), b"data:two", b"", b"", b"data: {}", b"", b"data: rest"]
    stream = end.join(lines)
    parser, events = SseParser(), []
    for cut in cuts:
        events += parser.feed(stream[:cut])
        stream = stream[cut:]
    events += parser.feed(stream)
    assert events == ["é€\ntwo", "{}"]


def test_an_event_without_end_is_refused() -> None:
    with pytest.raises(EventTooLong):
        SseParser().feed((b"data: " + b"x" * 60_000 + b"\n") * 20)
    with pytest.raises(EventTooLong):
        SseParser().feed(b"x" * (2 << 20))


names = st.sampled_from(
    ["choices", "delta", "content", "usage", "finish_reason", "prompt_tokens", "completion_tokens", "error"]
)
plain = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(plain, lambda each: st.lists(each) | st.dictionaries(names, each), max_leaves=8))
def test_whatever_the_model_server_says_is_a_delta_or_a_bad_event(said: Any) -> None:
    try:
        delta = parse_event(json.dumps(said))
    except BadEvent:
        return
    assert isinstance(delta.text, str)
    assert delta.finish_reason in ("", "stop", "length")
    assert delta.usage is None or min(delta.usage.prompt, delta.usage.completion) >= 0


def test_events_are_told_once_and_again_after_a_fall() -> None:
    events = OrderEvents()
    events.started("a")
    events.refused("b")
    events.started("a")
    assert [(event.order_id, event.kind.name) for event in events.take(1)] == [("a", "STARTED"), ("b", "REFUSED")]
    assert not events.wake.is_set()
    events.started("c")
    assert len(events.take(2)) == 1
    events.acknowledged(1)
    events.reconnected(["d"])  # orders that have begun come first, whether or not they were told before
    assert [event.order_id for event in events.take(3)] == ["d", "c"]
    events.started("d")
    events.started("a")  # a new connection may ask anew
    assert [event.order_id for event in events.take(4)] == ["a"]


def test_the_exchange_is_silent_since_the_last_report_that_it_answered_was_sent() -> None:
    now_s = 0.0
    contact = Contact(lambda: now_s)
    now_s = 1.0
    contact.sent(7)
    now_s = 2.0
    contact.sent(8)
    now_s = 9.0
    assert contact.silent_ms() == 9_000
    contact.answered(0)  # a cancellation, which answers nothing
    assert contact.silent_ms() == 9_000
    contact.answered(8)
    assert contact.silent_ms() == 8_000  # as if only 7 were answered: never later than the truth
    contact.sent(9)
    contact.lost()
    now_s = 10.0
    contact.sent(10)
    contact.answered(10)
    assert contact.silent_ms() == 0


def test_a_report_has_at_most_256_events() -> None:
    events = OrderEvents()
    for number in range(300):
        events.started(str(number))
    assert len(events.take(1)) == 256
    assert events.wake.is_set()
    assert len(events.take(2)) == 44


async def test_the_journal_lets_an_order_begin_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert await journal.open() == 0
    assert await journal.begin("a", 100) is None
    assert await journal.begin("a", 100) is State.RUNNING
    assert await journal.refuse("a", 100) is State.RUNNING
    assert await journal.refuse("b", 100) is State.REFUSED
    assert await journal.begin("b", 100) is State.REFUSED
    earning = Earning("a", Tokens(3, 4), Outcome.COMPLETED)
    await journal.finish(earning)
    await journal.finish(Earning("a", Tokens(9, 9), Outcome.FAILED))  # the first word stands
    assert await journal.unsettled(9) == [earning]
    assert await journal.begun(9) == ["a"]
    await journal.settled("a")
    assert await journal.begun(9) == []
    assert await journal.unsettled(9) == []
    assert await journal.forget(100) == 0
    assert await journal.forget(101) == 2
    await journal.close()


async def test_the_journal_finishes_what_a_crash_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.open()
    await journal.begin("a", 100)
    await journal.begin("b", 100)
    await journal.progress({"a": Tokens(3, 2)})
    await journal.close()
    again = Journal(tmp_path)
    assert await again.open() == 2
    assert await again.unsettled(9) == [
        Earning("a", Tokens(3, 2), Outcome.FAILED),
        Earning("b", NOTHING, Outcome.FAILED),
    ]
    await again.close()


class FakeNvml:
    """Two GPUs, or a driver that fails."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken

    def nvmlInit(self) -> None:
        if self.broken:
            raise self.NVMLError("driver not loaded")

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes | str:
        return f"GPU {handle}".encode() if handle else "GPU 0"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=1 << 30, total=80 << 30)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=42)


def test_gpus_are_read_and_their_absence_is_told_honestly() -> None:
    gpus = GpuReader(FakeNvml()).read()
    assert [(gpu.name, gpu.utilisation_percent, gpu.memory_used_bytes) for gpu in gpus] == [
        ("GPU 0", 42, 1 << 30),
        ("GPU 1", 42, 1 << 30),
    ]
    assert GpuReader(FakeNvml(broken=True)).read() == []


def test_pauses_grow_to_a_bound_and_begin_anew() -> None:
    backoff = Backoff(100, 400, random.Random(7))
    pauses = [backoff.pause_s() for _ in range(6)]
    assert all(0.05 <= pause <= 0.1 for pause in pauses[:1])
    assert all(0.2 <= pause <= 0.4 for pause in pauses[2:])
    assert len(set(pauses)) == 6
    backoff.reset()
    assert backoff.pause_s() <= 0.1


def test_options_show_no_secret_and_say_where_consumers_come() -> None:
    common: dict[str, Any] = {
        "provider_id": "p/1", "model": "m", "price": "1", "latency_ms": 1, "throughput_tps": 1.0, "api_key": "secret",
    }  # fmt: skip
    options = Options(**common, upstream_api_key="sk-secret")
    assert "secret" not in repr(options)
    assert options.endpoint_at(7) == "127.0.0.1:7"
    assert options.folder == Path("gollem-agent/p%2F1/m%3Acpu")
    assert Options(**common, listen="[::1]:0").listen_address == ("::1", 0)
    assert Options(**common, listen="0.0.0.0:9", endpoint="gpu.example:9").endpoint_at(9) == "gpu.example:9"
    with pytest.raises(BadOption):
        Options(**common, listen="0.0.0.0:9")


@pytest.mark.parametrize(
    ("listen", "endpoint", "address", "told"),
    [
        ("", "", ("127.0.0.1", 0), None),
        ("", "gpu.example:7000", ("0.0.0.0", 7_000), 7_000),
        ("", "[2001:db8::7]:7000", ("::", 7_000), 7_000),
        ("", "https://gpu.example:7443", ("127.0.0.1", 0), 7_443),
        ("", "https://gpu.example", ("127.0.0.1", 0), None),
        ("127.0.0.1:9", "gpu.example:7000", ("127.0.0.1", 9), 7_000),
    ],
)
def test_it_listens_where_the_endpoint_says_unless_told_otherwise(
    listen: str, endpoint: str, address: tuple[str, int], told: int | None
) -> None:
    options = Options("p1", "m", "1", 1, 1.0, "key", listen=listen, endpoint=endpoint)
    assert (options.listen_address, options.told_port) == (address, told)


@pytest.mark.parametrize(
    ("left_ms", "lasts_ms"), [(2_000, 1_800), (60_000, 54_000), (100_000, 90_000), (600_000, 590_000)]
)
def test_a_generation_leaves_a_tenth_of_the_time_to_settle_it_and_at_most_ten_seconds(
    left_ms: int, lasts_ms: int
) -> None:
    assert serving_ms(GrantClaims(hold_expires_at_ms=1_000_000 + left_ms), 1_000_000) == lasts_ms


def test_a_generation_does_not_begin_with_less_than_two_seconds_left() -> None:
    with pytest.raises(Refusal, match="expires too soon"):
        serving_ms(GrantClaims(hold_expires_at_ms=1_001_999), 1_000_000)
