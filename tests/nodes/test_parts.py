"""The parts that decide without Redis: what waits, what is one's own, when Redis counts as away, what a URL says."""

from dataclasses import replace

import pytest

from gollem.config import ConfigError, NodesConfig, load
from gollem.nodes import Removed, Sent, keys, open_shared_book
from gollem.nodes.addresses import Address, Kind, parse
from gollem.nodes.outage import Outage
from gollem.nodes.outbox import Outbox, OwnAsks
from gollem.nodes.redis_client import library
from gollem.nodes.shared_time import SharedTime
from tests.fakes.clock import FakeClock
from tests.nodes.samples import MODEL, heard, placed

KEY = "provider-1/ask"


# --- what waits to be sent ------------------------------------------------------------------------------------------


def test_of_an_ask_the_newest_waits_and_asks_go_first() -> None:
    outbox = Outbox(events_kept=10)
    for change in (heard(2, 1), placed(1), heard(1, 1), heard(1, 2), placed(1, price_ticks=7), heard(1, 3)):
        outbox.add(change, now_ms=0)
    assert outbox.take(10, now_ms=0) == [placed(1, price_ticks=7), heard(2, 1), heard(1, 3)]
    assert len(outbox) == 0


def test_what_was_heard_of_an_ask_goes_with_it() -> None:
    outbox = Outbox(events_kept=10)
    for change in (placed(1), heard(1), Removed(KEY, MODEL)):
        outbox.add(change, now_ms=0)
    assert outbox.take(10, now_ms=0) == [Removed(KEY, MODEL)]


def test_events_wait_each_for_itself_and_the_oldest_are_dropped() -> None:
    outbox = Outbox(events_kept=2)
    events = [Sent(KEY, MODEL, order_id, 1) for order_id in "abc"]
    for event in events:
        outbox.add(event, now_ms=0)
    assert outbox.dropped == 1
    assert outbox.take(1, now_ms=9) == events[1:2]
    assert outbox.take(9, now_ms=9) == events[2:]


def test_what_has_waited_is_so_much_older() -> None:
    outbox = Outbox(events_kept=10)
    outbox.add(placed(1), now_ms=100)
    outbox.add(replace(heard(1), age_ms=5), now_ms=150)
    assert outbox.take(10, now_ms=1_000) == [replace(placed(1), age_ms=900), replace(heard(1), age_ms=855)]


def test_own_asks_are_told_again_as_old_as_they_are() -> None:
    own = OwnAsks()
    own.announced(placed(1), now_ms=100)
    own.announced(heard(1), now_ms=150)
    told = list(own.all(now_ms=1_000))
    assert [(type(change), change.age_ms) for change in told] == [(type(placed()), 900), (type(heard()), 850)]  # type: ignore[union-attr]


@pytest.mark.parametrize("change", [placed(1), Removed(KEY, MODEL)], ids=lambda change: type(change).__name__)
def test_an_ask_that_another_node_tells_of_is_not_ones_own(change: object) -> None:
    own = OwnAsks()
    own.announced(placed(1), 0)
    own.heard_of(Sent(KEY, MODEL, "order", 1), 0)
    assert len(own) == 1
    own.heard_of(change, 0)  # type: ignore[arg-type]
    assert list(own.all(0)) == []


def test_a_late_report_of_a_node_that_stood_still_takes_no_ask_away() -> None:
    """It passes on what its agent said before that went elsewhere; to take an ask over it would place it first."""
    own = OwnAsks()
    own.announced(placed(1), 0)
    own.announced(heard(1, sequence=7), 0)
    own.heard_of(heard(1, sequence=3), 0)
    assert list(own.all(0)) == [placed(1), heard(1, sequence=7)]


def test_what_is_older_than_ones_own_word_takes_nothing_away() -> None:
    own = OwnAsks()
    own.announced(placed(1), 100)
    own.heard_of(replace(placed(1), age_ms=901), 1_000)
    assert len(own) == 1
    own.heard_of(replace(placed(1), age_ms=899), 1_000)
    assert len(own) == 0


# --- when Redis counts as away --------------------------------------------------------------------------------------


def test_during_an_outage_one_at_a_time_tries() -> None:
    outage = Outage(retry_ms=100, limit_ms=1_000)
    assert outage.may_try(0)
    assert outage.may_try(0)
    outage.failed(0)
    assert [outage.may_try(now_ms) for now_ms in (99, 100, 101, 199, 200)] == [False, True, False, False, True]
    outage.succeeded()
    assert outage.may_try(201)


def test_an_outage_is_too_long_by_its_first_failure() -> None:
    outage = Outage(retry_ms=100, limit_ms=1_000)
    assert not outage.is_too_long(5_000)
    outage.failed(5_000)
    outage.failed(5_900)
    assert not outage.is_too_long(5_999)
    assert outage.is_too_long(6_000)
    outage.succeeded()
    assert not outage.is_too_long(6_000)


def test_own_fences_are_above_those_that_redis_gave_whatever_the_clock_says() -> None:
    clock = FakeClock()
    shared = SharedTime(clock)
    redis_us = 2_000_000_000_000_000
    shared.told(redis_us, clock.monotonic_ms())
    shared.granted(redis_us + 5)
    clock.jump_ms(-10_000_000)
    first, second = shared.next_fence(), shared.next_fence()
    assert redis_us + 5 < first < second


def test_ages_are_by_redis_time_and_never_negative() -> None:
    clock = FakeClock()
    shared = SharedTime(clock)
    shared.told(5_000_000, clock.monotonic_ms())
    clock.advance_ms(100)
    clock.jump_ms(10_000_000)
    assert shared.age_ms(5_000) in (100, 101)
    assert shared.age_ms(9_000) == 0


# --- names and addresses --------------------------------------------------------------------------------------------


def test_keys_of_a_partition_share_a_tag_that_models_always_find() -> None:
    number = keys.partition_of("a-model", 8)
    assert number == 3
    names = keys.PartitionKeys(number)
    every = [names.head, names.changes, names.asks, names.heard, names.sent_by("a~1"), *names.leases(KEY)]
    assert all(name.startswith("gollem:1:{p3}:") for name in every)
    assert len(set(every)) == len(every)


def test_the_librarys_name_is_of_its_code() -> None:
    name, code = library()
    assert code.startswith(f"#!lua name={name}\n")
    assert f"'{name}_' .. name" in code


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://book", Address(Kind.SINGLE, (("book", 6379),))),
        ("redis://u:p%40@book:1", Address(Kind.SINGLE, (("book", 1),), user="u", password="p@")),
        ("redis://:secret@[::1]:7", Address(Kind.SINGLE, (("::1", 7),), password="secret")),
        ("rediss://book?ca=/a.pem", Address(Kind.SINGLE, (("book", 6379),), tls=True, authority="/a.pem")),
        ("redis+sentinel://a:1,b:2/main", Address(Kind.SENTINEL, (("a", 1), ("b", 2)), master="main")),
        ("rediss+cluster://a,b:2", Address(Kind.CLUSTER, (("a", 6379), ("b", 2)), tls=True)),
    ],
)
def test_a_url_says_where_redis_is(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://book",
        "redis+ring://book",
        "redis://",
        "redis://a,b",
        "redis://book/0",
        "redis+sentinel://a:1",
        "redis://book:port",
        "redis://:secret@book?password=secret",
        "redis://:secret@book?secret",
    ],
)
def test_a_url_that_says_nothing_is_refused_without_telling_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"nodes\.book: .*such as redis://host:6379") as refused:
        open_shared_book(NodesConfig(book=url), "test", FakeClock())
    assert "secret" not in str(refused.value)


def test_what_is_swept_must_be_silent_for_longer_than_what_is_forgotten() -> None:
    with pytest.raises(ConfigError, match=r"nodes\.forget_ms"):
        load(overrides={"nodes.forget_ms": "1000"})
