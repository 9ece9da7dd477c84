"""Faults 53 to 61 of payouts: what goes wrong on the way to the bank, and what must hold then."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest

from gollem.errors import GollemError
from gollem.ledger import Record, records, rules
from gollem.payments import payout_recheck, stripe_params
from gollem.payments.gateway import PaymentGateway
from gollem.payments.payouts import Payouts
from gollem.payments.types import Agreement, Transfer
from tests.fakes.stripe import Fault
from tests.payments.shop import ON_EVERY_LEDGER
from tests.payments.stage import CENT, DAY_MS, HOUR_MS, USD, Stage
from tests.until import until

TRANSFER = "POST /v1/transfers"
BANK = "POST /v1/payouts"
LOST = [Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.ERROR_BEFORE, Fault.ERROR_AFTER]
PAYABLE = 150 * USD


async def looks(stage: Stage, number: int, apart_ms: int = 0) -> None:
    """Of a server that is started again each time."""
    for _ in range(number):
        await stage.new_payouts().look()
        stage.clock.advance_ms(apart_ms)


async def transferred(stage: Stage) -> str:
    """acme's payout has come to its account. Returns the account's id."""
    connected_id = await stage.ready(PAYABLE)
    await stage.payouts.look()
    assert (await stage.payout()).state == "TRANSFERRED"
    return connected_id


async def at_the_bank(stage: Stage) -> tuple[str, str]:
    """acme's payout is on its way to the bank. Returns the ids of account and bank payout."""
    connected_id = await transferred(stage)
    await stage.payouts.look()
    return connected_id, stage.bank_payouts(connected_id)[-1]


# --- 53: whatever triggers coincide


@ON_EVERY_LEDGER
async def test_53_month_threshold_and_request_on_two_servers_at_once(stage: Stage) -> None:
    await stage.ready(PAYABLE)
    since_long = Record(records.PAYABLE, "acme", "WAITING", {"since_ms": 0, "payouts": 0})
    await stage.ledger.post(rules.noted(None, since_long, stage.clock.now_ms()))
    servers = [stage.new_payouts() for _ in range(2)]
    triggers: list[Callable[[Payouts], Awaitable[object]]] = [
        lambda server: server.look(),
        lambda server: server.request("acme", "mine"),
    ]
    await asyncio.gather(*(trigger(server) for server in servers for trigger in triggers), return_exceptions=True)
    await looks(stage, 2)

    assert await stage.count() == 1
    assert stage.transfers() == 1
    assert (await stage.balances()).get("P", 0) == 0


@ON_EVERY_LEDGER
async def test_53_sixty_four_triggers_at_once(stage: Stage) -> None:
    await stage.ready(PAYABLE)
    servers = [stage.new_payouts() for _ in range(16)]
    asked = [server.request("acme", f"mine-{number}") for number, server in enumerate(servers * 3)]
    await asyncio.gather(*asked, *(server.look() for server in servers), return_exceptions=True)
    await looks(stage, 3)

    assert await stage.count() == 1
    assert stage.transfers() == 1
    assert stage.stripe.available_cents() == 10 * 15_000 - 15_000


# --- 54: one transfer, whatever becomes of the call


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("route", [TRANSFER, BANK])
async def test_54_call_is_lost_or_breaks_down(stage: Stage, route: str, fault: Fault) -> None:
    """An internal error is answered under the same key again and again: it is looked up, and another key tried."""
    connected_id = await stage.ready(PAYABLE)
    stage.stripe.faults.next(route, fault)
    await looks(stage, 6, apart_ms=20_000)
    assert stage.stripe.faults.is_done
    assert stage.transfers() == len(stage.bank_payouts(connected_id)) == 1
    assert (await stage.payout()).state == "TRANSFERRED"


@ON_EVERY_LEDGER
async def test_54_servers_at_once_make_one_transfer_and_one_bank_payout(stage: Stage) -> None:
    connected_id = await stage.ready(PAYABLE)
    for _ in range(4):
        await asyncio.gather(*(stage.new_payouts().look() for _ in range(8)))
    assert stage.transfers() == len(stage.bank_payouts(connected_id)) == 1


@pytest.mark.parametrize("route", [TRANSFER, BANK])
@pytest.mark.parametrize("fault", [Fault.LOST_REPLY, Fault.ERROR_AFTER])
async def test_54_lists_that_are_behind_hide_what_was_done(stage: Stage, route: str, fault: Fault) -> None:
    connected_id = await stage.ready(PAYABLE)
    stage.stripe.lag_lists(45)
    stage.stripe.faults.next(route, fault)
    await looks(stage, 16, apart_ms=10_000)
    assert stage.stripe.faults.is_done
    stage.stripe.lag_lists(0)
    assert stage.transfers() == len(stage.bank_payouts(connected_id)) == 1


# --- 55: keys are forgotten


@ON_EVERY_LEDGER
@pytest.mark.parametrize("route", [TRANSFER, BANK])
@pytest.mark.parametrize("fault", [Fault.LOST_REPLY, Fault.ERROR_AFTER, Fault.LOST_REQUEST])
async def test_55_retry_after_its_key_was_forgotten(stage: Stage, route: str, fault: Fault) -> None:
    """25 hours later the same key would pay a second time."""
    connected_id = await stage.ready(PAYABLE)
    stage.stripe.faults.next(route, fault)
    await looks(stage, 1 if route == TRANSFER else 2)
    assert stage.stripe.faults.is_done
    stage.clock.advance_ms(25 * HOUR_MS)
    await looks(stage, 3)
    assert stage.transfers() == len(stage.bank_payouts(connected_id)) == 1


# --- 56: the platform's balance


async def test_56_too_small_a_balance_waits(stage: Stage) -> None:
    await stage.onboard()
    await stage.payable(PAYABLE)
    stage.stripe.top_up(14_999)
    await stage.payouts.look()
    entries = await journal(stage)
    await looks(stage, 5, apart_ms=60_000)

    assert await journal(stage) == entries
    assert (await stage.payout()).state == "INITIATED"
    assert (await stage.balances())["PO"] == PAYABLE
    assert await stage.alerts() == ["payout:refused:balance_insufficient"]
    stage.stripe.top_up(1)
    await looks(stage, 1)
    assert (await stage.payout()).state == "TRANSFERRED"
    assert stage.stripe.available_cents() == 0


@ON_EVERY_LEDGER
async def test_56_balance_that_two_payouts_want(stage: Stage) -> None:
    """Each sees enough; one is refused, and waits for the next money."""
    for provider in ("acme", "zeta"):
        await stage.onboard(provider)
        await stage.earn(PAYABLE, provider)
    stage.clock.advance_ms(8 * DAY_MS)
    stage.stripe.top_up(20_000)
    await stage.payouts.look()
    states = sorted([(await stage.payout(provider=provider)).state for provider in ("acme", "zeta")])
    assert states == ["INITIATED", "TRANSFERRED"]
    assert await stage.alerts() == ["payout:refused:balance_insufficient"]

    stage.stripe.top_up(20_000)
    await looks(stage, 1)
    assert stage.transfers() == 1  # a refusal rests, or each look would take a number of the attempt
    stage.clock.advance_ms(10 * 60_000)
    await looks(stage, 1)
    assert stage.transfers() == 2


# --- 57: the account changes between intent and transfer


@ON_EVERY_LEDGER
async def test_57_account_is_blocked_before_the_transfer(stage: Stage) -> None:
    connected_id = await initiated_and_short(stage)
    stage.stripe.verify_account(connected_id, can_be_paid=False)
    stage.stripe.top_up(100_000)
    await looks(stage, 2)

    assert (await stage.payout()).state == "CANCELLED"
    assert await stage.balances() == {"P": PAYABLE}
    assert (await stage.payee()).state == "DISABLED"
    assert "payout:cancelled" in await stage.alerts()
    assert stage.transfers() == 0

    stage.stripe.verify_account(connected_id)
    await stage.onboarding.refresh(connected_id)
    await looks(stage, 1)
    assert (await stage.payout()).state == "TRANSFERRED"
    assert (await stage.count(), stage.transfers()) == (2, 1)


async def test_57_provider_has_another_account(stage: Stage) -> None:
    await initiated_and_short(stage)
    other = await stage.gateway.create_account("acme", "US", Agreement.FULL, "another")
    stage.stripe.verify_account(other.connected_id)
    changed = rules.provider_changed(await stage.payee(), other.connected_id, True, stage.clock.now_ms())
    await stage.ledger.post(changed)
    stage.stripe.top_up(100_000)
    await looks(stage, 1)
    assert (await stage.payout()).state == "CANCELLED"
    await looks(stage, 1)
    assert [one["destination"] for one in stage.stripe.all("transfer")] == [other.connected_id]


async def test_57_account_is_gone(stage: Stage) -> None:
    connected_id = await initiated_and_short(stage)
    stage.stripe.leave(connected_id)
    await looks(stage, 2)
    assert await stage.balances() == {"P": PAYABLE}


async def test_57_not_cancelled_while_a_transfer_may_be_on_its_way(stage: Stage) -> None:
    """The request lies somewhere on the network. The account is blocked, nothing is found, and then it arrives."""
    connected_id = await stage.ready(PAYABLE)
    stage.stripe.faults.next(TRANSFER, Fault.SLOW)
    on_its_way = asyncio.create_task(stage.payouts.look())
    await until(lambda: stage.stripe.faults.is_done)
    stage.stripe.verify_account(connected_id, can_be_paid=False)
    await looks(stage, 2, apart_ms=10 * HOUR_MS)
    assert (await stage.payout()).state == "INITIATED"
    stage.stripe.verify_account(connected_id)  # or the fake would refuse what was asked before
    stage.stripe.faults.release()
    await on_its_way
    stage.stripe.verify_account(connected_id, can_be_paid=False)
    await looks(stage, 1)

    assert (await stage.payout()).state == "TRANSFERRED"
    assert stage.transfers() == 1
    assert (await stage.balances()).get("P", 0) == 0


@pytest.mark.parametrize("fault", [Fault.LOST_REQUEST, Fault.ERROR_BEFORE])
async def test_57_cancelled_once_nothing_can_be_on_its_way(stage: Stage, fault: Fault) -> None:
    connected_id = await stage.ready(PAYABLE)
    stage.stripe.faults.next(TRANSFER, fault)
    await looks(stage, 1)
    stage.stripe.verify_account(connected_id, can_be_paid=False)
    await looks(stage, 4, apart_ms=5 * HOUR_MS)
    assert (await stage.payout()).state == "INITIATED"
    stage.clock.advance_ms(HOUR_MS)
    await looks(stage, 1)
    assert (await stage.payout()).state == "CANCELLED"
    assert (await stage.balances(), stage.transfers()) == ({"P": PAYABLE}, 0)


async def test_57_answer_was_lost_and_the_account_is_blocked(stage: Stage) -> None:
    """The transfer exists: it is found, however the account is now."""
    connected_id = await stage.ready(PAYABLE)
    stage.stripe.faults.next(TRANSFER, Fault.LOST_REPLY)
    await looks(stage, 1)
    stage.stripe.verify_account(connected_id, can_be_paid=False)
    await looks(stage, 1)
    assert (await stage.payout()).state == "TRANSFERRED"


@ON_EVERY_LEDGER
async def test_57_who_was_about_to_begin_stops_once_it_is_called_off(stage: Stage) -> None:
    """A server has seen that the account may be paid, and sleeps; another cancels; the first wakes up."""
    await initiated_and_short(stage)
    payout = await stage.payout()
    attempts = stage.attempts()
    assert await attempts.call_off(f"transfer.{payout.id}")
    stage.stripe.top_up(100_000)
    await looks(stage, 1)
    assert stage.transfers() == 0
    assert (await stage.payout(payout.id)).state == "CANCELLED"
    with pytest.raises(GollemError):
        await attempts.carry_out(f"transfer.{payout.id}", nothing, forbidden)


async def test_57_looked_up_once_more_before_it_is_cancelled(stage: Stage) -> None:
    """The first look-up missed the transfer: a list may be behind."""
    connected_id = await initiated_and_short(stage)
    stage.stripe.top_up(100_000)
    made = await stage.gateway.create_transfer((await stage.payout()).id, connected_id, 15_000, "unnoticed")
    stage.stripe.verify_account(connected_id, can_be_paid=False)
    behind = Stage(stage.ledger, stage.clock, stage.stripe, Behind(stage.gateway))  # type: ignore[arg-type]
    await behind.payouts.look()
    assert (await stage.payout()).text("transfer_id") == made.transfer_id


class Behind:
    """A gateway whose first look-up of a transfer finds nothing."""

    def __init__(self, gateway: PaymentGateway) -> None:
        self._gateway = gateway
        self._is_behind = True

    def __getattr__(self, name: str) -> object:
        return getattr(self._gateway, name)

    async def find_transfer(self, payout_id: str) -> Transfer | None:
        was_behind, self._is_behind = self._is_behind, False
        return None if was_behind else await self._gateway.find_transfer(payout_id)


async def nothing() -> None:
    return None


async def forbidden(key: str) -> None:
    raise AssertionError("it was called off")


async def initiated_and_short(stage: Stage) -> str:
    """acme's payout waits for the platform's balance. Returns its account's id."""
    connected_id = await stage.onboard()
    await stage.payable(PAYABLE)
    await stage.payouts.look()
    assert (await stage.payout()).state == "INITIATED"
    return connected_id


# --- 58: banks


@ON_EVERY_LEDGER
async def test_58_bank_sends_it_back_and_it_is_tried_again_a_day_later(stage: Stage) -> None:
    connected_id, first = await at_the_bank(stage)
    stage.stripe.bank_fails(first)
    await looks(stage, 2)
    assert (await stage.payout()).state == "FAILED"
    assert await stage.alerts() == ["payout:failed:0"]
    assert await stage.balances() == {"A:conn": -PAYABLE, "L:conn": PAYABLE}
    assert stage.bank_payouts(connected_id) == [first]

    stage.clock.advance_ms(DAY_MS)
    await looks(stage, 1)
    (_, second) = stage.bank_payouts(connected_id)
    stage.stripe.bank_pays(second)
    await looks(stage, 1)
    payout = await stage.payout()
    assert (payout.state, payout.number("attempt")) == ("PAID", 1)
    assert await stage.balances() == {"A:paid": -PAYABLE, "L:conn": PAYABLE}


async def test_58_tried_again_at_once_when_the_account_changes(stage: Stage) -> None:
    connected_id, first = await at_the_bank(stage)
    stage.stripe.bank_fails(first)
    await looks(stage, 1)
    stage.clock.advance_ms(HOUR_MS)
    for can_be_paid in (False, True):
        stage.stripe.verify_account(connected_id, can_be_paid=can_be_paid)
        await stage.onboarding.refresh(connected_id)
    await looks(stage, 1)
    assert len(stage.bank_payouts(connected_id)) == 2


async def test_58_paid_then_failed_though_no_event_told(stage: Stage) -> None:
    connected_id, first = await at_the_bank(stage)
    stage.stripe.bank_pays(first)
    await looks(stage, 1)
    stage.clock.advance_ms(5 * DAY_MS)
    stage.stripe.bank_fails(first)
    await looks(stage, 1)
    assert (await stage.payout()).state == "FAILED"
    assert await stage.balances() == {"A:conn": -PAYABLE, "L:conn": PAYABLE}
    assert stage.stripe.available_cents(connected_id) == 15_000


async def test_58_sent_back_though_many_payouts_came_after_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider is paid every day, and the bank sends the first back; its event is lost, and each look reads a few."""
    connected_id = await stage.onboard()
    stage.stripe.top_up(100_000)
    for _ in range(7):
        await stage.earn(2 * USD)
        stage.clock.advance_ms(DAY_MS)
    for number in range(12):
        await stage.earn(2 * USD)
        await stage.desk.mature_due()
        await stage.payouts.request("acme", f"mine-{number}")
        await looks(stage, 2)
        stage.stripe.bank_pays(stage.bank_payouts(connected_id)[-1])
        await looks(stage, 1, apart_ms=DAY_MS)
    first = stage.stripe.object("payout", stage.bank_payouts(connected_id)[0], connected_id)
    stage.stripe.bank_fails(first["id"])
    stage.stripe.webhooks.take()
    monkeypatch.setattr(stripe_params, "PAGE_SIZE", 2)
    monkeypatch.setattr(payout_recheck, "PAGES", 1)
    for _ in range(6):
        await stage.payouts.look()
    assert (await stage.payout(first["metadata"]["payout_id"])).state == "FAILED"


async def test_58_events_in_any_order_and_twice(stage: Stage) -> None:
    """Each only names the bank payout; what is fetched decides."""
    connected_id, first = await at_the_bank(stage)
    assert not await stage.payouts.refresh(connected_id, first)
    stage.stripe.bank_pays(first)
    told = await asyncio.gather(*(stage.new_payouts().refresh(connected_id, first) for _ in range(8)))
    assert told.count(True) == 1
    stage.stripe.bank_fails(first)
    told = await asyncio.gather(*(stage.new_payouts().refresh(connected_id, first) for _ in range(8)))
    assert told.count(True) == 1
    assert (await stage.payout()).state == "FAILED"
    assert await stage.alerts() == ["payout:failed:0"]


@ON_EVERY_LEDGER
async def test_58_event_before_our_own_call_returns(stage: Stage) -> None:
    connected_id = await transferred(stage)
    stage.stripe.faults.next(BANK, Fault.SILENT)
    under_way = asyncio.create_task(stage.payouts.look())
    await until(lambda: stage.bank_payouts(connected_id))
    (bank_payout_id,) = stage.bank_payouts(connected_id)
    stage.stripe.bank_pays(bank_payout_id)
    assert await stage.new_payouts().refresh(connected_id, bank_payout_id)
    stage.stripe.faults.release()
    await under_way
    await looks(stage, 2)
    assert (await stage.payout()).state == "PAID"
    assert stage.bank_payouts(connected_id) == [bank_payout_id]


async def test_58_foreign_bank_payouts_change_nothing(stage: Stage) -> None:
    """Of the account's owner, of nobody, or of another account."""
    connected_id = await transferred(stage)
    by_hand = stage.stripe.pay_out_by_hand(100, connected_id)
    stage.stripe.bank_pays(by_hand)
    other = await stage.onboard("zeta")
    for pair in ((connected_id, by_hand), (connected_id, "po_none"), (other, by_hand)):
        assert not await stage.payouts.refresh(*pair)
    await stage.gateway.create_transfer("po-other", other, 15_000, "by-hand")
    pretends = await stage.gateway.create_bank_payout(other, (await stage.payout()).id, 0, 15_000, "pretends")
    stage.stripe.bank_pays(pretends.bank_payout_id)
    assert not await stage.payouts.refresh(other, pretends.bank_payout_id)
    assert (await stage.payout()).state == "TRANSFERRED"


async def test_58_money_that_is_not_available_at_the_account_yet(stage: Stage) -> None:
    connected_id = await transferred(stage)
    stage.stripe.pay_out_by_hand(15_000, connected_id)
    entries = await journal(stage)
    await looks(stage, 3, apart_ms=60_000)
    assert await journal(stage) == entries
    await stage.gateway.create_transfer("po-other", connected_id, 15_000, "by-hand")
    await looks(stage, 1)
    assert len(stage.bank_payouts(connected_id)) == 2


async def test_58_bank_payout_of_another_amount(stage: Stage) -> None:
    connected_id = await transferred(stage)
    wrong = await stage.gateway.create_bank_payout(connected_id, (await stage.payout()).id, 0, 100, "by-hand")
    stage.stripe.bank_pays(wrong.bank_payout_id)
    assert not await stage.payouts.refresh(connected_id, wrong.bank_payout_id)
    assert (await stage.payout()).state == "TRANSFERRED"
    assert await stage.alerts() == [f"payout:foreign:{wrong.bank_payout_id}"]


async def test_58_paid_although_its_transfer_was_reversed(stage: Stage) -> None:
    """Both happened at the payment provider: a person has to look."""
    connected_id, bank_payout_id = await at_the_bank(stage)
    (transfer,) = stage.stripe.all("transfer")
    await stage.gateway.create_transfer("po-other", connected_id, 15_000, "by-hand")
    stage.stripe.reverse_by_hand(transfer["id"])
    assert await stage.payouts.refresh_transfer(transfer["id"])
    stage.stripe.bank_pays(bank_payout_id)
    assert not await stage.payouts.refresh(connected_id, bank_payout_id)
    assert (await stage.payout()).state == "REVERSED"
    assert await stage.alerts() == ["payout:paid_after_all", "payout:reversed:15000"]


@ON_EVERY_LEDGER
async def test_58_transfer_reversed_although_it_was_paid(stage: Stage) -> None:
    connected_id, bank_payout_id = await at_the_bank(stage)
    stage.stripe.bank_pays(bank_payout_id)
    await looks(stage, 1)
    (transfer,) = stage.stripe.all("transfer")
    await stage.gateway.create_transfer("po-other", connected_id, 15_000, "by-hand")
    stage.stripe.reverse_by_hand(transfer["id"])
    assert not await stage.payouts.refresh_transfer(transfer["id"])
    assert (await stage.payout()).state == "PAID"
    assert await stage.alerts() == ["payout:reversed:15000"]


async def test_transfer_that_was_reversed_in_two_parts_is_a_persons(stage: Stage) -> None:
    connected_id = await transferred(stage)
    (transfer,) = stage.stripe.all("transfer")
    stage.stripe.reverse_by_hand(transfer["id"], 5_000)
    assert not await stage.payouts.refresh_transfer(transfer["id"])
    stage.stripe.reverse_by_hand(transfer["id"])
    assert not await stage.payouts.refresh_transfer(transfer["id"])
    await looks(stage, 1)

    assert (await stage.payout()).state == "TRANSFERRED"
    assert (await stage.balances()).get("P", 0) == 0
    assert await stage.alerts() == ["payout:reversed:15000", "payout:reversed:5000"]
    assert stage.bank_payouts(connected_id) == []


async def test_reversal_is_seen_before_anything_goes_to_the_bank(stage: Stage) -> None:
    connected_id = await transferred(stage)
    first = (await stage.payout()).id
    stage.stripe.reverse_by_hand(stage.stripe.all("transfer")[0]["id"])
    await looks(stage, 1)
    assert (await stage.payout(first)).state == "REVERSED"
    assert stage.bank_payouts(connected_id) == []


async def test_transfer_that_nobody_asked_for(stage: Stage) -> None:
    connected_id = await stage.ready(PAYABLE)
    stray = await stage.gateway.create_transfer("po-stray", connected_id, 100, "by-hand")
    assert not await stage.payouts.refresh_transfer(stray.transfer_id)
    assert not await stage.payouts.refresh_transfer("tr_none")
    await stage.payouts.request("acme", "mine")
    payout = await stage.payout()
    wrong = await stage.gateway.create_transfer(payout.id, connected_id, 100, "by-hand-too")
    assert not await stage.payouts.refresh_transfer(wrong.transfer_id)
    await looks(stage, 2)
    assert (await stage.payout(payout.id)).state == "INITIATED"
    assert await stage.alerts() == [f"payout:foreign:{wrong.transfer_id}"]


# --- 59, 60: how much


@ON_EVERY_LEDGER
@pytest.mark.parametrize(
    ("earned_atoms", "paid_cents"),
    [(100 * USD - CENT, None), (100 * USD, 10_000), (100 * USD + 9 * CENT // 10, 10_000)],
    ids=["99.99", "100.00", "100.009"],
)
async def test_59_threshold_cents_and_dust(stage: Stage, earned_atoms: int, paid_cents: int | None) -> None:
    await stage.ready(earned_atoms)
    await looks(stage, 2)
    assert [one["amount"] for one in stage.stripe.all("transfer")] == ([paid_cents] if paid_cents else [])
    dust_atoms = earned_atoms - (paid_cents or 0) * CENT
    assert (await stage.balances()).get("P", 0) == dust_atoms


@ON_EVERY_LEDGER
async def test_60_clawback_larger_than_payable_is_repaid_by_the_next_earnings(stage: Stage) -> None:
    await stage.ready(PAYABLE)
    await stage.desk.claw_back("case-1", "acme", 250 * USD)
    await looks(stage, 1)
    assert (await stage.payouts.earnings("acme")).debt_atoms == 100 * USD
    await stage.payable(90 * USD)
    await looks(stage, 1)
    assert (await stage.balances(), stage.transfers()) == ({"DP": -10 * USD}, 0)
    await stage.payable(111 * USD)
    await looks(stage, 1)
    assert [one["amount"] for one in stage.stripe.all("transfer")] == [10_100]


# --- 61: days


@ON_EVERY_LEDGER
@pytest.mark.parametrize(
    "day", ["2024-02-28", "2024-02-29", "2024-03-09", "2024-03-30", "2024-12-31"], ids=str
)  # leap day, clocks going forward in the US and in Europe, the year's end
async def test_61_days_mature_once_by_any_number_of_servers(stage: Stage, day: str) -> None:
    noon = datetime.fromisoformat(f"{day}T23:59:59.999+00:00")
    stage.clock.jump_ms(int(noon.timestamp() * 1_000) - stage.clock.now_ms())
    await stage.onboard()
    await stage.earn(10 * USD)
    stage.clock.advance_ms(1)  # the next day in UTC
    await stage.earn(20 * USD)
    payable = []
    for _ in range(10):
        await asyncio.gather(*(stage.new_payouts().look() for _ in range(3)))
        payable.append((await stage.payouts.earnings("acme")).payable_atoms // USD)
        stage.clock.advance_ms(DAY_MS)
    assert payable == [0] * 6 + [10, 30, 30, 30]


async def journal(stage: Stage) -> int:
    """How many entries there are."""
    return (await stage.ledger.audit()).transactions
