"""The registry says exactly what the book must change, and when."""

import pytest

from gollem.config import ProvidersConfig
from gollem.providers import Change, Gauge, Promise, Registry, What
from gollem.providers.registry import Reason

PROMISE = Promise(latency_us=100, tpot_ns=10, capacity_tokens=1_000, capacity_slots=4)
CONFIG = ProvidersConfig(
    telemetry_interval_ms=1_000,
    withdraw_after_ms=10_000,
    forget_after_ms=120_000,
    circuit_failures=2,
    circuit_window_ms=1_000,
    circuit_open_ms=500,
    samples_needed=3,
    samples_max_age_ms=5_000,
)


@pytest.fixture
def registry() -> Registry:
    registry = Registry(CONFIG)
    registry.register("p/a", "p", "m/h100", PROMISE, None, now_ms=0)
    return registry


def blocked(reason: Reason) -> list[Change]:
    return [Change("p/a", What.BLOCKED, reason)]


def unblocked(reason: Reason) -> list[Change]:
    return [Change("p/a", What.UNBLOCKED, reason)]


def test_silence_withdraws_then_forgets(registry: Registry) -> None:
    assert registry.tick(9_999) == []
    assert registry.tick(10_000) == blocked(Reason.SILENT)
    assert registry.tick(119_999) == []
    assert registry.tick(120_000) == [Change("p/a", What.FORGOTTEN)]
    assert registry.seller("p/a") is None
    assert registry.tick(999_999) == []


def test_a_report_brings_a_silent_ask_back(registry: Registry) -> None:
    registry.tick(10_000)
    assert registry.heard("p/a", 1, PROMISE, Gauge(), 11_000) == unblocked(Reason.SILENT)
    assert registry.tick(20_999) == []
    assert registry.tick(21_000) == blocked(Reason.SILENT)


def test_a_report_that_is_not_newer_proves_life_and_nothing_else(registry: Registry) -> None:
    newer = Promise(latency_us=50, tpot_ns=10, capacity_tokens=1, capacity_slots=1)
    assert registry.heard("p/a", 5, newer, Gauge(), 100) is not None
    assert registry.heard("p/a", 5, PROMISE, Gauge(), 9_000) is None
    seller = registry.seller("p/a")
    assert seller is not None
    assert seller.promise == newer
    assert registry.tick(10_000) == []


def test_failures_block_every_ask_of_the_provider_until_a_probe_succeeds(registry: Registry) -> None:
    registry.register("p/b", "p", "m/a100", PROMISE, None, now_ms=0)
    registry.order_failed("p", 100)
    both = [Change(key, What.BLOCKED, Reason.CIRCUIT_OPEN) for key in ("p/a", "p/b")]
    assert registry.order_failed("p", 101) == both
    assert registry.tick(600) == []
    assert {change.what for change in registry.tick(601)} == {What.UNBLOCKED}
    assert registry.order_sent("p/a", 610) == both, "the probe is one order, whichever ask it goes to"
    assert {change.what for change in registry.order_succeeded("p", 700)} == {What.UNBLOCKED}


def test_deregistering_sheds_neither_circuit_nor_measurements(registry: Registry) -> None:
    for _ in range(3):
        registry.sampled("p/a", 777, None, 100)
    registry.order_failed("p", 100)
    registry.order_failed("p", 101)
    registry.remove("p/a")
    changes = registry.register("p/other-name", "p", "m/h100", PROMISE, None, now_ms=150)
    assert Change("p/other-name", What.BLOCKED, Reason.CIRCUIT_OPEN) in changes
    seller = registry.seller("p/other-name")
    assert seller is not None
    assert seller.figures == (777, PROMISE.tpot_ns, True)


def test_the_rate_limit_blocks_and_lifts_by_itself() -> None:
    registry = Registry(CONFIG)
    registry.register("p/a", "p", "m/h100", PROMISE, 1, now_ms=0)
    assert registry.order_sent("p/a", 500) == blocked(Reason.RATE_LIMITED)
    for at_ms in range(5_000, 61_000, 5_000):
        assert registry.heard("p/a", at_ms, PROMISE, Gauge(), at_ms) == []
    assert registry.tick(60_999) == []
    assert registry.tick(61_000) == unblocked(Reason.RATE_LIMITED)


def test_an_order_withdrawn_gives_its_place_back() -> None:
    registry = Registry(CONFIG)
    registry.register("p/a", "p", "m/h100", PROMISE, 1, now_ms=0)
    registry.order_sent("p/a", 500)
    assert registry.order_withdrawn("p/a", 501) == unblocked(Reason.RATE_LIMITED)


def test_measured_figures_replace_the_promise_and_age_away(registry: Registry) -> None:
    registry.sampled("p/a", 900, 90, 0)
    assert registry.sampled("p/a", 900, 90, 1) == []
    assert registry.sampled("p/a", 900, 90, 2) == [Change("p/a", What.REMEASURED)]
    seller = registry.seller("p/a")
    assert seller is not None
    assert seller.figures == (900, 90, True)
    assert registry.tick(5_000) == [Change("p/a", What.REMEASURED)]
    assert seller.figures == (PROMISE.latency_us, PROMISE.tpot_ns, False)


def test_time_is_looked_at_only_when_something_is_due(registry: Registry) -> None:
    for step in range(1, 2_000):
        registry.heard("p/a", step, PROMISE, Gauge(), step * 10)
    assert len(registry._timers) < 10, "a report must not leave a timer behind"
