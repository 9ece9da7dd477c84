"""The circuit breaker opens, probes and closes when it should."""

import pytest

from gollem.providers import CircuitState, CircuitStatus
from gollem.providers.circuit_breaker import CircuitBreaker


@pytest.fixture
def breaker() -> CircuitBreaker:
    return CircuitBreaker(failures_to_open=3, window_ms=1_000, open_ms=500)


def opened(breaker: CircuitBreaker, at_ms: int = 0) -> CircuitBreaker:
    for _ in range(3):
        breaker.failed(at_ms)
    return breaker


def test_failures_within_the_window_open_it(breaker: CircuitBreaker) -> None:
    breaker.failed(0)
    breaker.failed(500)
    assert breaker.allows(500)
    breaker.failed(999)
    assert not breaker.allows(999)
    assert breaker.status(999).state is CircuitState.OPEN
    assert breaker.status(1_099).retry_after_ms == 400


def test_failures_farther_apart_do_not(breaker: CircuitBreaker) -> None:
    for at_ms in (0, 500, 1_000, 1_500, 2_000):
        breaker.failed(at_ms)
        assert breaker.allows(at_ms)
    assert breaker.status(2_000).failures == 2


def test_half_open_lets_one_probe_through(breaker: CircuitBreaker) -> None:
    opened(breaker)
    assert not breaker.allows(499)
    assert breaker.allows(500)
    assert breaker.status(500).state is CircuitState.HALF_OPEN
    breaker.order_sent(500)
    assert not breaker.allows(501)


def test_a_good_probe_closes_it_and_forgets(breaker: CircuitBreaker) -> None:
    opened(breaker).order_sent(500)
    breaker.succeeded(600)
    assert breaker.status(600) == CircuitStatus(CircuitState.CLOSED, failures=0, retry_after_ms=0)
    breaker.failed(601)
    assert breaker.allows(601)


def test_a_bad_probe_opens_it_again_for_the_whole_pause(breaker: CircuitBreaker) -> None:
    opened(breaker).order_sent(500)
    breaker.failed(600)
    assert not breaker.allows(1_099)
    assert breaker.allows(1_100)


def test_success_of_an_older_order_does_not_close_it(breaker: CircuitBreaker) -> None:
    opened(breaker).succeeded(100)
    assert not breaker.allows(100)


def test_a_probe_never_heard_of_makes_room_for_another(breaker: CircuitBreaker) -> None:
    opened(breaker).order_sent(500)
    assert not breaker.allows(999)
    assert breaker.allows(1_000)
    assert breaker.next_change_ms() == 1_000


def test_a_withdrawn_probe_makes_room_at_once(breaker: CircuitBreaker) -> None:
    opened(breaker).order_sent(500)
    breaker.order_withdrawn()
    assert breaker.allows(501)
