"""The promise of `PaymentGateway` where dollars go out, and its books. Runs as `test_gateway_contract.py` says."""

import pytest

from gollem.errors import PaymentRefused
from gollem.payments.types import Agreement, BankPayoutStatus, Event, Movement, MovementKind
from tests.payments.benches import CENTS, Bench, paid


async def test_an_account_is_made_once_and_cannot_be_paid_yet(bench: Bench) -> None:
    provider = bench.named("seller")
    made = await bench.gateway.create_account(provider, "US", Agreement.FULL, bench.named("key"))
    assert (made.provider, made.country, made.can_be_paid) == (provider, "US", False)
    assert made.blocked_by
    again = await bench.gateway.create_account(provider, "US", Agreement.FULL, bench.named("key"))
    found = await bench.gateway.find_account(provider, bench.since_ms)
    fetched = await bench.gateway.account(made.connected_id)
    assert found is not None
    assert fetched is not None
    assert {again.connected_id, found.connected_id, fetched.connected_id} == {made.connected_id}
    assert await bench.gateway.find_account(bench.named("nobody"), bench.since_ms) is None


async def test_an_account_is_completed_at_a_page(bench: Bench) -> None:
    made = await bench.gateway.create_account(bench.named("seller"), "US", Agreement.FULL, bench.named("key"))
    first = await bench.gateway.onboarding_url(made.connected_id, "https://example.com/back")
    assert first.startswith(("https://", "http://127.0.0.1"))
    assert await bench.gateway.onboarding_url(made.connected_id, "https://example.com/back") != first


async def test_a_country_that_is_not_served_is_refused(bench: Bench) -> None:
    with pytest.raises(PaymentRefused):
        await bench.gateway.create_account(bench.named("seller"), "KP", Agreement.FULL, bench.named("key"))


async def test_a_transfer_is_made_once_found_and_taken_back(bench: Bench) -> None:
    connected_id = await bench.payee()
    await paid(bench)
    payout_id = bench.named("po")
    sent = await bench.gateway.create_transfer(payout_id, connected_id, 700, payout_id)
    assert (sent.payout_id, sent.connected_id, sent.cents, sent.reversed_cents) == (payout_id, connected_id, 700, 0)
    again = await bench.gateway.create_transfer(payout_id, connected_id, 700, payout_id)
    found = await bench.gateway.find_transfer(payout_id)
    assert found is not None
    assert {again.transfer_id, found.transfer_id} == {sent.transfer_id}
    taken = await bench.gateway.reverse_transfer(sent.transfer_id, bench.named("reverse"))
    assert (taken.reversed_cents, bool(taken.reversal_id)) == (700, True)
    assert await bench.gateway.transfer(sent.transfer_id) == taken


async def test_more_than_there_is_is_not_transferred(bench: Bench) -> None:
    connected_id = await bench.payee()
    cents = (await bench.gateway.funds()).available_cents + 1
    with pytest.raises(PaymentRefused) as caught:
        await bench.gateway.create_transfer(bench.named("po"), connected_id, max(cents, 1), bench.named("po"))
    assert caught.value.code == "balance_insufficient"
    assert await bench.gateway.find_transfer(bench.named("po")) is None


async def test_a_bank_payout_is_made_once_and_found_by_its_attempt(bench: Bench) -> None:
    connected_id = await bench.payee()
    await paid(bench)
    payout_id = bench.named("po")
    before = await bench.gateway.funds(connected_id)
    await bench.gateway.create_transfer(payout_id, connected_id, 700, bench.named("transfer"))
    made = await bench.gateway.create_bank_payout(connected_id, payout_id, 2, 700, bench.named("bank"))
    again = await bench.gateway.create_bank_payout(connected_id, payout_id, 2, 700, bench.named("bank"))
    assert again.bank_payout_id == made.bank_payout_id
    assert (made.payout_id, made.attempt, made.cents) == (payout_id, 2, 700)
    assert made.status is BankPayoutStatus.UNDER_WAY
    assert await bench.gateway.find_bank_payout(connected_id, payout_id, 1) is None
    assert await bench.gateway.find_bank_payout(connected_id, payout_id, 2) is not None
    assert await bench.gateway.bank_payout(connected_id, made.bank_payout_id) is not None
    listed = (await bench.gateway.bank_payouts_since(connected_id, bench.since_ms)).items
    assert [(one.payout_id, one.attempt) for one in listed] == [(payout_id, 2)]
    assert (await bench.gateway.funds(connected_id)).cents == before.cents


# --- its books


async def test_movements_name_what_is_behind_them(bench: Bench) -> None:
    connected_id = await bench.payee()
    payment = await paid(bench)
    refund_id, payout_id = bench.named("back"), bench.named("po")
    await bench.gateway.create_refund(payment.payment_id, refund_id, 500, refund_id)
    sent = await bench.gateway.create_transfer(payout_id, connected_id, 700, payout_id)
    await bench.gateway.reverse_transfer(sent.transfer_id, bench.named("reverse"))

    async def booked() -> dict[MovementKind, Movement] | None:
        movements = (await bench.gateway.movements_since(bench.since_ms)).items
        newest = {movement.kind: movement for movement in reversed(movements)}
        return newest if {refund_id, payout_id} <= {one.refund_id or one.payout_id for one in movements} else None

    moved = await bench.eventually(booked)
    charge, refund = moved[MovementKind.CHARGE], moved[MovementKind.REFUND]
    assert (charge.cents, charge.payment_id, charge.source_id) == (CENTS, payment.payment_id, payment.charge_id)
    assert charge.fee_cents > 0
    assert (refund.cents, refund.payment_id, refund.refund_id) == (-500, payment.payment_id, refund_id)
    transfer, back = moved[MovementKind.TRANSFER], moved[MovementKind.TRANSFER_REVERSED]
    assert (transfer.cents, transfer.payout_id, transfer.source_id) == (-700, payout_id, sent.transfer_id)
    assert (back.cents, back.payout_id) == (700, payout_id)


async def test_funds_change_by_what_moves(bench: Bench) -> None:
    before = await bench.gateway.funds()
    payment = await paid(bench)

    async def booked() -> Movement | None:
        movements = (await bench.gateway.movements_since(bench.since_ms)).items
        return next((one for one in movements if one.payment_id == payment.payment_id), None)

    charge = await bench.eventually(booked)
    after = await bench.gateway.funds()
    assert after.cents - before.cents == charge.net_cents
    assert after.available_cents - before.available_cents == charge.net_cents


async def test_what_happened_is_told(bench: Bench) -> None:
    payment = await paid(bench)

    async def told() -> Event | None:
        events = (await bench.gateway.events_since(bench.since_ms)).items
        mine = [one for one in events if one.object_id == payment.payment_id]
        return next((one for one in mine if one.type == "payment_intent.succeeded"), None)

    event = await bench.eventually(told)
    assert (event.connected_id, event.livemode) == ("", bench.gateway.livemode)
    assert event.about["purchase_id"] == payment.purchase_id
