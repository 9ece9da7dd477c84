"""What an exchange does again and again: how soon, and how it says what fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from gollem.app import _repeat
from gollem.bridge import Bridge
from gollem.config import BridgeConfig, PaymentsConfig
from gollem.errors import GollemError, LedgerUnavailable, PaymentRefused
from gollem.ledger import Desk, open_ledger
from gollem.payments import open_payments
from tests.fakes.clock import FakeClock


async def _runs(work: Callable[[], Awaitable[object]], every_ms: int, first_ms: int | None, for_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(for_s):
            await _repeat(every_ms, work, FakeClock(), 1, first_ms)


@pytest.mark.parametrize(("error", "is_traced"), [(PaymentRefused("no such key", "401"), False), (KeyError("x"), True)])
async def test_what_we_have_words_for_is_said_in_one_line(
    error: Exception, is_traced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails() -> None:
        raise error

    caplog.set_level(logging.WARNING)
    await _runs(fails, 3_600_000, 1, for_s=0.2)
    (line,) = caplog.records
    assert bool(line.exc_info) is is_traced
    assert not isinstance(error, GollemError) or "no such key" in line.getMessage()


@pytest.mark.parametrize(
    ("rest", "fails", "rests_ms"), [(20, False, 300_000), (20, True, 15_000), (0, False, 10), (0, True, 10)]
)
async def test_what_took_long_rests_long_but_not_after_it_failed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, rest: int, fails: bool, rests_ms: int
) -> None:
    """It may have waited for a ledger that is back by then."""
    clock, pauses_s = FakeClock(), list[float]()

    async def sleep(pause_s: float) -> None:
        pauses_s.append(pause_s)
        if len(pauses_s) == 2:
            raise asyncio.CancelledError

    async def takes_long() -> None:
        clock.advance_ms(15_000)
        if fails:
            raise LedgerUnavailable("away")

    monkeypatch.setattr("gollem.app.asyncio.sleep", sleep)
    caplog.set_level(logging.WARNING)
    with suppress(asyncio.CancelledError):
        await _repeat(10, takes_long, clock, rest)
    assert 0.9 * rests_ms <= pauses_s[1] * 1_000 <= 1.1 * rests_ms
    told = [line.getMessage() for line in caplog.records]
    assert told == ([f"a chore failed; it runs again in {rests_ms} ms: LedgerUnavailable: away"] if fails else [])


@pytest.mark.parametrize(("first_ms", "at_least", "at_most"), [(None, 0, 0), (1, 1, 1), (7_200_000, 0, 0)])
async def test_the_first_time_comes_soon_and_the_others_as_often_as_set(
    first_ms: int | None, at_least: int, at_most: int
) -> None:
    done = []

    async def works() -> None:
        done.append(1)

    await _runs(works, 3_600_000, first_ms, for_s=0.2)
    assert at_least <= len(done) <= at_most


@pytest.mark.parametrize(
    ("host", "page"),
    [("0.0.0.0", "http://127.0.0.1:"), ("127.0.0.2", "http://127.0.0.2:")],
)
async def test_the_books_are_compared_soon_and_pages_are_where_webhooks_are(tmp_path, host: str, page: str) -> None:  # type: ignore[no-untyped-def]
    clock = FakeClock()
    ledger = await open_ledger(f"sqlite://{tmp_path / 'ledger.db'}")
    desk = Desk(ledger, clock, delay_days=7, cap_atoms=1)
    room = await open_payments(PaymentsConfig(gateway="local"), ledger, desk, clock, tmp_path)
    assert room
    bridge = Bridge(BridgeConfig(host=host, port=0), room.routes())
    await bridge.start()
    room.serve_at(bridge.url)
    soon = {chore.work.__name__: chore.first_ms for chore in room.chores() if chore.first_ms}  # type: ignore[attr-defined]
    assert soon["prove_balance"] <= 10 * 60_000
    assert soon["poll"] <= 60_000
    made = await room.purchases.create("alice", "buy-1", 500)
    assert made.pay_url.startswith(page)
    await bridge.stop()
    await room.close()
    await ledger.close()
