"""A ledger stays with one payment provider and mode; what lay there before is booked once."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from gollem.config import ConfigError, PaymentsConfig
from gollem.ledger import Desk, Ledger, records
from gollem.payments import open_payments
from gollem.payments.binding import bind
from gollem.payments.gateway import PaymentGateway
from tests.fakes.clock import FakeClock
from tests.fakes.crashes import CrashError, Fuse
from tests.payments.office import DAY_MS, HOUR_MS, Office
from tests.payments.shop import CENT, ON_EVERY_LEDGER, ON_ONE_LEDGER, USD, changed_gateway

LOCAL = PaymentsConfig(gateway="local")


@ON_ONE_LEDGER
async def test_a_ledger_of_play_money_is_never_real(
    ledger: Ledger, desk: Desk, clock: FakeClock, config: PaymentsConfig, tmp_path: Path
) -> None:
    for _ in range(2):  # the same again is welcome
        room = await open_payments(LOCAL, ledger, desk, clock, tmp_path)
        assert room
        await room.gateway.close()
    with pytest.raises(ConfigError, match=r"local \(test mode\), not of stripe \(test mode\): use another data folder"):
        await open_payments(replace(config, gateway="stripe"), ledger, desk, clock, tmp_path)


@ON_EVERY_LEDGER
async def test_test_and_live_do_not_meet(ledger: Ledger, clock: FakeClock, gateway: PaymentGateway) -> None:
    await bind(ledger, clock, "stripe", gateway)
    with pytest.raises(ConfigError, match=r"stripe \(test mode\), not of stripe \(live mode\)"):
        await bind(ledger, clock, "stripe", changed_gateway(gateway, livemode=True))
    await bind(ledger, clock, "stripe", gateway)


async def _began(office: Office) -> None:
    """An account with a past: 500 USD of long ago, and 10 USD of yesterday."""
    office.stripe.top_up(50_000)
    office.clock.advance_ms(40 * DAY_MS)
    office.stripe.top_up(1_000)
    office.clock.advance_ms(DAY_MS)
    await bind(office.ledger, office.clock, "stripe", office.gateway)


async def _proven(office: Office) -> list[str]:
    result = await office.books.prove_balance()
    assert result
    return list(result.findings)


@ON_EVERY_LEDGER
async def test_what_lay_there_is_booked_once(office: Office) -> None:
    await _began(office)
    await office.shop.buy(2_500)  # before the books were ever compared
    office.clock.advance_ms(HOUR_MS)
    for _ in range(2):
        assert (await office.books.match_movements()).findings == []
        assert (await _proven(office)) == []
        await office.require_agreement()
    assert (await office.alerts())[0] == "opening"
    opening = await office.entry("stripe:opening")
    assert opening
    assert {leg.account: leg.amount_atoms for leg in opening.legs} == {"A:stripe": -500 * USD, "A:bank": 500 * USD}


async def test_nothing_lay_there(office: Office) -> None:
    await bind(office.ledger, office.clock, "stripe", office.gateway)
    await office.require_agreement()
    assert (await office.alerts(), await office.entry("stripe:opening")) == ([], None)


async def test_after_the_first_comparison_a_difference_is_one(office: Office) -> None:
    await _began(office)
    assert await _proven(office) == []
    await office.plant("A:stripe", CENT)
    office.clock.advance_ms(HOUR_MS)
    assert (len(await _proven(office)), await office.breaker()) == (1, "HALTED")


async def test_a_ledger_that_was_compared_before_has_no_opening_balance(office: Office) -> None:
    """It was made before ledgers were bound: what differs is a fault."""
    assert (await office.books.match_movements()).findings == []
    await office.plant("A:stripe", CENT)
    await bind(office.ledger, office.clock, "stripe", office.gateway)
    assert len(await _proven(office)) == 1


@ON_EVERY_LEDGER
async def test_a_crash_at_every_await_of_the_opening(office: Office) -> None:
    await _began(office)
    for number in range(200):
        fuse = Fuse(number, after=number % 2 == 0)
        dying = Office(fuse.wrap(office.ledger), fuse.wrap(office.gateway), office.clock, office.stripe)
        with suppress(CrashError):
            await dying.books.prove_balance()
        known = await office.ledger.find_record(records.GATEWAY, "payments")
        assert known
        if known.state == "BOUND":
            break
    assert await _proven(office) == []
    await office.require_agreement()
    assert (await office.atoms("A:bank"), (await office.alerts())[0]) == (500 * USD, "opening")
    assert number > 10
