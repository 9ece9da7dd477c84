"""The promise of `PaymentGateway`, kept by everything that makes it.

On the fake always. On a Stripe sandbox too when `GOLLEM_TEST_STRIPE_KEY` holds its secret test key (`sk_test_...`);
what needs an account that can be paid wants the id of one, completed by hand, in `GOLLEM_TEST_STRIPE_ACCOUNT`. Payers
are Stripe's test cards, which the fake knows as well. What a payment provider does when it fails, which no sandbox does
on demand, is in `test_gateway_faults.py`.
"""

from collections.abc import AsyncIterator

import pytest

from gollem.errors import InvariantBroken, PaymentRefused
from gollem.payments.types import (
    Agreement,
    BankPayoutStatus,
    Dispute,
    DisputeStatus,
    Event,
    Movement,
    MovementKind,
    Payment,
    PaymentOrder,
    PaymentStatus,
    RefundStatus,
)
from tests.fakes.clock import FakeClock
from tests.payments.benches import BENCHES, DECLINED_CARD, DISPUTED_CARD, Bench

CENTS = 2_500
PAGES_MAX = 50


@pytest.fixture(params=list(BENCHES))
async def bench(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Bench]:
    opened = await BENCHES[request.param](clock)
    yield opened
    await opened.close()


async def ordered(bench: Bench, name: str = "buy", cents: int = CENTS) -> str:
    purchase_id = bench.named(name)
    return (await bench.gateway.create_payment(PaymentOrder(purchase_id, cents), purchase_id)).payment.payment_id


async def paid(bench: Bench, name: str = "buy", cents: int = CENTS) -> Payment:
    payment_id = await ordered(bench, name, cents)
    await bench.pay(payment_id)
    payment = await bench.gateway.payment(payment_id)
    assert payment is not None
    assert payment.status is PaymentStatus.SUCCEEDED
    return payment


async def every_payment(bench: Bench) -> list[Payment]:
    """Since the test began."""
    page = await bench.gateway.payments_since(bench.since_ms)
    found = list(page.items)
    for _ in range(PAGES_MAX):
        if not page.next:
            break
        page = await bench.gateway.payments_since(bench.since_ms, page.next)
        found += page.items
    return found


# --- money in


async def test_a_new_payment_waits_and_has_a_secret(bench: Bench) -> None:
    order = PaymentOrder(bench.named("buy"), CENTS)
    made = await bench.gateway.create_payment(order, bench.named("key"))
    payment = made.payment
    assert (payment.purchase_id, payment.status) == (order.purchase_id, PaymentStatus.WAITING)
    assert (payment.asked_cents, payment.received_cents, payment.currency) == (CENTS, 0, "usd")
    assert payment.livemode is bench.gateway.livemode
    assert made.client_secret
    assert made.client_secret not in repr(made)


async def test_the_same_key_makes_one_payment(bench: Bench) -> None:
    order = PaymentOrder(bench.named("buy"), CENTS)
    first = await bench.gateway.create_payment(order, bench.named("key"))
    again = await bench.gateway.create_payment(order, bench.named("key"))
    assert (again.payment.payment_id, again.client_secret) == (first.payment.payment_id, first.client_secret)
    assert [one.purchase_id for one in await every_payment(bench)].count(order.purchase_id) == 1


async def test_a_key_is_for_one_thing(bench: Bench) -> None:
    await bench.gateway.create_payment(PaymentOrder(bench.named("buy"), CENTS), bench.named("key"))
    with pytest.raises(InvariantBroken):
        await bench.gateway.create_payment(PaymentOrder(bench.named("buy"), CENTS + 1), bench.named("key"))


async def test_a_paid_payment_has_succeeded(bench: Bench) -> None:
    payment = await paid(bench)
    assert (payment.received_cents, payment.purchase_id) == (CENTS, bench.named("buy"))
    assert payment.charge_id
    assert payment.receipt_url.startswith("http")


async def test_a_declined_payment_waits_for_another_card(bench: Bench) -> None:
    payment_id = await ordered(bench)
    await bench.pay(payment_id, DECLINED_CARD)
    declined = await bench.gateway.payment(payment_id)
    assert declined is not None
    assert (declined.status, declined.received_cents) == (PaymentStatus.WAITING, 0)
    await bench.pay(payment_id)
    accepted = await bench.gateway.payment(payment_id)
    assert accepted is not None
    assert accepted.status is PaymentStatus.SUCCEEDED


async def test_a_cancelled_payment_takes_no_money(bench: Bench) -> None:
    payment_id = await ordered(bench)
    cancelled = await bench.gateway.cancel_payment(payment_id, bench.named("cancel"))
    assert cancelled.status is PaymentStatus.CANCELLED
    assert await bench.gateway.cancel_payment(payment_id, bench.named("cancel")) == cancelled


async def test_what_has_been_paid_is_not_cancelled(bench: Bench) -> None:
    payment = await paid(bench)
    with pytest.raises(PaymentRefused):
        await bench.gateway.cancel_payment(payment.payment_id, bench.named("cancel"))
    again = await bench.gateway.payment(payment.payment_id)
    assert again is not None
    assert again.status is PaymentStatus.SUCCEEDED


async def test_a_payment_is_found_by_its_purchase(bench: Bench) -> None:
    wanted = await ordered(bench, "buy-1")
    await ordered(bench, "buy-2")
    found = await bench.gateway.find_payment(bench.named("buy-1"), bench.since_ms)
    assert found is not None
    assert found.payment_id == wanted
    assert await bench.gateway.find_payment(bench.named("buy-3"), bench.since_ms) is None


async def test_payments_since_are_all_there_newest_first(bench: Bench) -> None:
    made = [await ordered(bench, f"buy-{number}") for number in range(3)]
    assert [one.payment_id for one in await every_payment(bench)][:3] == made[::-1]


async def test_a_card_that_is_kept_is_charged_while_nobody_is_there(bench: Bench) -> None:
    customer_id = await bench.gateway.create_customer(bench.named("alice"), bench.named("customer"))
    assert await bench.gateway.create_customer(bench.named("alice"), bench.named("customer")) == customer_id
    order = PaymentOrder(bench.named("buy-1"), CENTS, customer_id)
    first = await bench.gateway.create_payment(order, bench.named("key-1"))
    await bench.pay(first.payment.payment_id)
    kept = await bench.gateway.payment(first.payment.payment_id)
    assert kept is not None
    assert kept.customer_id == customer_id
    order = PaymentOrder(bench.named("buy-2"), CENTS, customer_id, kept.card_id)
    charged = await bench.gateway.create_payment(order, bench.named("key-2"))
    assert (charged.payment.status, charged.payment.received_cents) == (PaymentStatus.SUCCEEDED, CENTS)


async def test_what_is_not_there_is_none(bench: Bench) -> None:
    gateway = bench.gateway
    assert await gateway.payment("pi_of_nobody") is None
    assert await gateway.refund("re_of_nobody") is None
    assert await gateway.dispute("dp_of_nobody") is None
    assert await gateway.account("acct_ofnobody") is None
    assert await gateway.transfer("tr_of_nobody") is None
    assert await gateway.find_transfer(bench.named("po-of-nobody")) is None


# --- money back


async def test_a_refund_is_made_once_and_found(bench: Bench) -> None:
    payment = await paid(bench)
    refund_id = bench.named("back")
    made = await bench.gateway.create_refund(payment.payment_id, refund_id, 1_000, refund_id)
    assert (made.refund_id, made.payment_id, made.cents) == (refund_id, payment.payment_id, 1_000)
    assert made.status in (RefundStatus.SUCCEEDED, RefundStatus.PENDING)
    again = await bench.gateway.create_refund(payment.payment_id, refund_id, 1_000, refund_id)
    assert again.stripe_id == made.stripe_id
    found = await bench.gateway.find_refund(payment.payment_id, refund_id)
    assert found is not None
    assert found.stripe_id == made.stripe_id
    assert await bench.gateway.find_refund(payment.payment_id, bench.named("other")) is None
    assert await bench.gateway.refund(made.stripe_id) is not None


async def test_no_more_is_refunded_than_was_paid(bench: Bench) -> None:
    payment = await paid(bench)
    await bench.gateway.create_refund(payment.payment_id, bench.named("back-1"), 2_000, bench.named("back-1"))
    with pytest.raises(PaymentRefused):
        await bench.gateway.create_refund(payment.payment_id, bench.named("back-2"), 501, bench.named("back-2"))


async def test_a_payment_that_waits_is_not_refunded(bench: Bench) -> None:
    with pytest.raises(PaymentRefused):
        await bench.gateway.create_refund(await ordered(bench), bench.named("back"), 100, bench.named("back"))


async def test_a_dispute_is_told_and_takes_money(bench: Bench) -> None:
    payment_id = await ordered(bench)
    await bench.pay(payment_id, DISPUTED_CARD)
    gateway = bench.gateway

    async def told() -> Dispute | None:
        events = (await gateway.events_since(bench.since_ms)).items
        ids = [event.object_id for event in events if event.type == "charge.dispute.created"]
        found = [await gateway.dispute(dispute_id) for dispute_id in ids]
        return next((one for one in found if one and one.payment_id == payment_id and one.movements), None)

    dispute = await bench.eventually(told)
    assert dispute.status is DisputeStatus.OPEN
    (withdrawn,) = dispute.movements
    assert (withdrawn.kind, withdrawn.cents, withdrawn.dispute_id) == (
        MovementKind.DISPUTE,
        -CENTS,
        dispute.dispute_id,
    )
    assert withdrawn.fee_cents > 0


# --- money out


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
    assert first.startswith("https://")
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
    assert (await bench.gateway.funds(connected_id)).cents == before.cents


# --- its books


async def test_movements_name_what_is_behind_them(bench: Bench) -> None:
    connected_id = await bench.payee()
    payment = await paid(bench)
    refund_id, payout_id = bench.named("back"), bench.named("po")
    await bench.gateway.create_refund(payment.payment_id, refund_id, 500, refund_id)
    sent = await bench.gateway.create_transfer(payout_id, connected_id, 700, payout_id)
    await bench.gateway.reverse_transfer(sent.transfer_id, bench.named("reverse"))
    moved: dict[MovementKind, Movement] = {}
    for movement in (await bench.gateway.movements_since(bench.since_ms)).items:
        moved.setdefault(movement.kind, movement)
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
    page = await bench.gateway.movements_since(bench.since_ms)
    charge = next(one for one in page.items if one.payment_id == payment.payment_id)
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
