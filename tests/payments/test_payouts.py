"""Payouts as providers see them: when they are made, how they are asked for, what they come to."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gollem.errors import InsufficientCredits, InvalidField, NotOnboarded, UnknownPayout, WrongState
from gollem.ledger import Ledger, Record, rules
from gollem.payments import payout_drive, payout_due
from gollem.payments.local_gateway import LocalGateway
from gollem.payments.payout_due import payout_id_of
from gollem.payments.payouts import EarningsView
from gollem.payments.types import PaymentOrder
from tests.fakes.clock import FakeClock
from tests.fakes.stripe import FakeStripe, Fault
from tests.payments.shop import ON_EVERY_LEDGER
from tests.payments.stage import CENT, DAY_MS, USD, Stage

PROVIDERS = ("acme", "beta", "zeta")


async def pay_all(stage: Stage, connected_id: str) -> None:
    """Looks, and the bank takes whatever has come to it."""
    await stage.payouts.look()
    await stage.payouts.look()
    for bank_payout_id in stage.bank_payouts(connected_id):
        if stage.stripe.object("payout", bank_payout_id, connected_id)["status"] == "pending":
            stage.stripe.bank_pays(bank_payout_id)
    await stage.payouts.look()


def breaker(state: str) -> Record:
    return Record("breaker", "payouts", state, {"version": 0, "at_ms": 0, "reason": "a test"})


def month_start_ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000


@ON_EVERY_LEDGER
async def test_from_earnings_to_the_bank(stage: Stage) -> None:
    connected_id = await stage.onboard()
    await stage.earn(150 * USD + 7)
    stage.stripe.top_up(20_000)
    assert await stage.payouts.earnings("acme") == EarningsView(150 * USD + 7, 0, 0, 0, 0)

    stage.clock.advance_ms(8 * DAY_MS)
    assert await stage.payouts.look() == 3  # matured, initiated, transferred
    (view,) = (await stage.payouts.list("acme")).items
    assert (view.state, view.cents, view.transfer_id[:3]) == ("transferred", 15_000, "tr_")
    assert await stage.payouts.earnings("acme") == EarningsView(0, 7, 150 * USD, 0, 0)
    await stage.payouts.look()
    (bank_payout_id,) = stage.bank_payouts(connected_id)
    assert await stage.payouts.look() == 0

    stage.clock.advance_ms(DAY_MS)
    stage.stripe.bank_pays(bank_payout_id)
    assert await stage.payouts.look() == 1
    assert (await stage.payouts.find("acme", view.payout_id)).state == "paid"
    assert await stage.payouts.earnings("acme") == EarningsView(0, 7, 0, 150 * USD, 0)
    assert await stage.payouts.look() == 0
    assert stage.transfers() == 1
    assert stage.stripe.all("transfer")[0]["transfer_group"] == view.payout_id
    assert stage.stripe.available_cents() == 5_000
    assert await stage.alerts() == []


async def test_request_again_is_answered_by_the_first(stage: Stage) -> None:
    connected_id = await stage.ready(5 * USD)
    first = await stage.payouts.request("acme", "mine-1")
    assert await stage.payouts.request("acme", "mine-1") == first
    assert (first.state, first.cents) == ("initiated", 500)
    await pay_all(stage, connected_id)
    await stage.payable(7 * USD)
    again = await stage.payouts.request("acme", "mine-1")

    assert (again.payout_id, again.state, again.cents) == (first.payout_id, "paid", 500)
    assert await stage.count() == 1


@ON_EVERY_LEDGER
async def test_request_while_another_is_under_way_names_it_and_keeps_its_id(stage: Stage) -> None:
    connected_id = await stage.ready(5 * USD)
    first = await stage.payouts.request("acme", "mine-1")
    await stage.payable(3 * USD)
    with pytest.raises(WrongState) as refused:
        await stage.payouts.request("acme", "mine-2")
    assert refused.value.figures == {"kind": "payout", "id": first.payout_id, "state": "INITIATED"}

    await pay_all(stage, connected_id)
    assert (await stage.payouts.request("acme", "mine-2")).cents == 300


async def test_request_that_cannot_be(stage: Stage) -> None:
    with pytest.raises(NotOnboarded):
        await stage.payouts.request("acme", "mine-1")
    await stage.onboard()
    await stage.payable(USD - CENT)
    with pytest.raises(InsufficientCredits) as refused:
        await stage.payouts.request("acme", "mine-1")
    assert refused.value.figures == {"needed": "1000.00000000", "available": "990.00000000"}
    for name in ("", "a b", "x" * 65, "po:1"):
        with pytest.raises(InvalidField):
            await stage.payouts.request("acme", name)
    await stage.payable(5 * USD)
    assert (await stage.payouts.request("acme", "mine-1")).cents == 599


async def test_ids_are_of_one_form_and_one_a_provider(stage: Stage) -> None:
    """Nobody can take another's, nor one that a trigger will need."""
    triggers = [("auto", 0), ("month", "202311"), ("request", "202311"), ("request", "0"), ("request", "mine")]
    ids = {payout_id_of(provider, *trigger) for provider in ("acme", "zeta") for trigger in triggers}
    assert len(ids) == 10
    assert all(re.fullmatch(r"po-[0-9a-f]{24}", one) for one in ids)

    for provider in ("acme", "zeta"):
        await stage.ready(5 * USD, provider)
    views = [await stage.payouts.request(provider, "mine") for provider in ("acme", "zeta")]
    with pytest.raises(UnknownPayout):
        await stage.payouts.find("acme", views[1].payout_id)


async def test_while_payouts_are_halted_nothing_is_initiated(stage: Stage) -> None:
    await stage.ready(150 * USD)
    halted = rules.reconciled("run-1", [(None, breaker("HALTED"))], (), stage.clock.now_ms())
    await stage.ledger.post(halted)
    assert await stage.payouts.look() == 0
    with pytest.raises(WrongState) as refused:
        await stage.payouts.request("acme", "mine-1")
    assert refused.value.figures["kind"] == "breaker"
    stage.clock.advance_ms(32 * DAY_MS)
    await stage.payouts.look()
    assert await stage.alerts() == ["unpaid:acme:202312"]
    known = await stage.ledger.find_record("breaker", "payouts")
    assert known is not None
    await stage.ledger.post(rules.payouts_resumed(known, "eve", stage.clock.now_ms()))
    await stage.payouts.look()
    assert await stage.count() == 1


async def test_month_pays_what_was_payable_on_its_first_day(stage: Stage) -> None:
    """From 14 November on. What comes later in December waits for January, 30 days at most."""
    await stage.ready(3 * USD)
    assert await stage.payouts.look() == 0
    days_to_december = (month_start_ms(2023, 12) - stage.clock.now_ms()) // DAY_MS
    stage.clock.advance_ms(days_to_december * DAY_MS)
    assert await stage.payouts.look() == 0  # the last day of November
    stage.clock.advance_ms(DAY_MS)
    await stage.payouts.look()
    first = await stage.payout()
    assert (first.id, first.number("amount_atoms")) == (payout_id_of("acme", "month", "202312"), 3 * USD)

    await stage.payable(4 * USD)
    await stage.payouts.look()
    stage.clock.advance_ms(16 * DAY_MS)
    await stage.payouts.look()
    assert await stage.count() == 1
    assert await stage.alerts() == ["payout:late"]  # and not unpaid: it waits since 9 December
    stage.clock.advance_ms(month_start_ms(2024, 1) - stage.clock.now_ms())
    await stage.payouts.look()
    assert (await stage.payout()).id == payout_id_of("acme", "month", "202401")


async def test_month_pays_what_becomes_payable_on_its_first_day(stage: Stage) -> None:
    """Or it would wait for more than 30 days."""
    await stage.onboard()
    stage.clock.advance_ms(month_start_ms(2023, 12) - stage.clock.now_ms() - 7 * DAY_MS - 1)
    await stage.earn(3 * USD)
    stage.clock.advance_ms(7 * DAY_MS + 2)
    await stage.payouts.look()
    assert (await stage.payout()).id == payout_id_of("acme", "month", "202312")


async def test_earnings_that_nobody_pays_out_raise_one_alert_a_month(stage: Stage) -> None:
    """Settlement within 30 days: blocked accounts, and whatever else keeps money back."""
    blocked = await stage.onboard("acme")
    stage.stripe.verify_account(blocked, can_be_paid=False)
    await stage.onboarding.refresh(blocked)
    await stage.payable(5 * USD, "acme")
    await stage.payouts.look()
    stage.clock.advance_ms(31 * DAY_MS)
    await stage.payouts.look()
    assert await stage.alerts() == []
    stage.clock.advance_ms(DAY_MS)
    for _ in range(3):
        await stage.payouts.look()
    assert await stage.alerts() == ["unpaid:acme:202312"]
    (alert,) = await stage.ledger.records("alert", "OPEN")
    assert alert.text("message").startswith("5.00 USD")
    assert "requirements.past_due" in alert.text("message")
    stage.clock.advance_ms(31 * DAY_MS)
    await stage.payouts.look()
    assert await stage.alerts() == ["unpaid:acme:202312", "unpaid:acme:202401"]


async def test_payout_that_stays_open_raises_an_alert(stage: Stage) -> None:
    await stage.ready(150 * USD)
    for _ in range(3):
        await stage.payouts.look()
    stage.clock.advance_ms(10 * DAY_MS + 1)
    for _ in range(2):
        await stage.payouts.look()
    assert await stage.alerts() == ["payout:late"]


@ON_EVERY_LEDGER
async def test_pages_are_newest_first_and_stable(stage: Stage) -> None:
    connected_id = await stage.ready(5 * USD)
    made = []
    for number in range(5):
        made.append((await stage.payouts.request("acme", f"mine-{number}")).payout_id)
        await pay_all(stage, connected_id)
        await stage.payable(5 * USD)
    first = await stage.payouts.list("acme", limit=2)
    late = await stage.payouts.request("acme", "late")
    second = await stage.payouts.list("acme", first.next, 2)
    third = await stage.payouts.list("acme", second.next, 2)

    assert [view.payout_id for page in (first, second, third) for view in page.items] == made[::-1]
    assert third.next == ""
    assert (await stage.payouts.list("acme")).items[0].payout_id == late.payout_id
    assert (await stage.payouts.list("nobody")).items == []
    for cursor in ("po-none", "no cursor", payout_id_of("zeta", "auto", 0)):
        with pytest.raises(InvalidField):
            await stage.payouts.list("acme", cursor)


async def test_one_payout_that_fails_keeps_no_other_waiting(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payout_drive, "AT_ONCE", 1)
    for provider in PROVIDERS:
        await stage.ready(150 * USD, provider)
    stage.stripe.faults.next("GET /v1/transfers", Fault.ERROR_BEFORE)
    await stage.payouts.look()
    assert sorted(await states(stage)) == ["INITIATED", "TRANSFERRED", "TRANSFERRED"]
    await stage.payouts.look()
    assert "INITIATED" not in await states(stage)


@ON_EVERY_LEDGER
async def test_looks_are_bounded_and_everybody_has_a_turn(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payout_due, "PAGE", 1)
    monkeypatch.setattr(payout_drive, "PAGE", 1)
    for provider in PROVIDERS:
        await stage.onboard(provider)
        await stage.earn(150 * USD, provider)
    stage.stripe.top_up(100_000)
    stage.clock.advance_ms(8 * DAY_MS)
    server, made = stage.new_payouts(), []
    for _ in range(3):
        await server.look()
        made.append(stage.transfers())
    assert made == [1, 2, 3]


async def states(stage: Stage) -> list[str]:
    return [(await stage.payout(provider=provider)).state for provider in PROVIDERS]


@ON_EVERY_LEDGER
async def test_many_requests_at_once_make_one(stage: Stage) -> None:
    await stage.ready(5 * USD)
    views = await asyncio.gather(*(stage.new_payouts().request("acme", "mine") for _ in range(16)))
    assert len({view.payout_id for view in views}) == 1
    assert await stage.count() == 1


async def test_paid_out_with_no_account_anywhere(ledger: Ledger, clock: FakeClock, tmp_path: Path) -> None:
    """The local gateway: a purchase fills the platform's balance, and a provider is paid from it."""
    gateway = LocalGateway(tmp_path / "local.db", clock)
    stage = Stage(ledger, clock, FakeStripe(clock), gateway)
    bought = await gateway.create_payment(PaymentOrder("buy-1", 20_000), "buy-1:0")
    gateway.pay(bought.client_secret)
    await stage.onboarding.start("acme", "US")
    gateway.complete((await stage.payee()).text("connected_id"))
    await stage.onboarding.sweep()
    await stage.payable(150 * USD)
    for _ in range(4):
        await stage.payouts.look()
        clock.advance_ms(DAY_MS)
    assert [view.state for view in (await stage.payouts.list("acme")).items] == ["paid"]
    assert await stage.payouts.earnings("acme") == EarningsView(0, 0, 0, 150 * USD, 0)
    await gateway.close()
