"""The promise of `PaymentGateway`, kept by everything that makes it.

On the fake Stripe and the local gateway always. On a Stripe sandbox too when `GOLLEM_TEST_STRIPE_KEY` holds its secret
test key (`sk_test_...`); what needs an account that can be paid wants the id of one, completed by hand, in
`GOLLEM_TEST_STRIPE_ACCOUNT`. Payers are Stripe's test cards, which the fake knows as well; the local gateway has none.
What a payment provider does when it fails, which no sandbox does on demand, is in `test_gateway_faults.py`.
"""

import pytest

from gollem.errors import InvariantBroken, PaymentRefused
from gollem.payments.types import (
    Dispute,
    DisputeStatus,
    MovementKind,
    Payment,
    PaymentOrder,
    PaymentStatus,
    RefundStatus,
)
from tests.payments.benches import CENTS, DECLINED_CARD, DISPUTED_CARD, Bench, ordered, paid

PAGES_MAX = 50


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


async def test_a_declined_payment_waits_for_another_card(card_bench: Bench) -> None:
    payment_id = await ordered(card_bench)
    await card_bench.pay(payment_id, DECLINED_CARD)
    declined = await card_bench.gateway.payment(payment_id)
    assert declined is not None
    assert (declined.status, declined.received_cents) == (PaymentStatus.WAITING, 0)
    await card_bench.pay(payment_id)
    accepted = await card_bench.gateway.payment(payment_id)
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


async def test_a_dispute_is_told_and_takes_money(card_bench: Bench) -> None:
    payment_id = await ordered(card_bench)
    await card_bench.pay(payment_id, DISPUTED_CARD)
    gateway = card_bench.gateway

    async def told() -> Dispute | None:
        events = (await gateway.events_since(card_bench.since_ms)).items
        ids = [event.object_id for event in events if event.type == "charge.dispute.created"]
        found = [await gateway.dispute(dispute_id) for dispute_id in ids]
        return next((one for one in found if one and one.payment_id == payment_id and one.movements), None)

    dispute = await card_bench.eventually(told)
    assert dispute.status is DisputeStatus.OPEN
    (withdrawn,) = dispute.movements
    assert (withdrawn.kind, withdrawn.cents, withdrawn.dispute_id) == (
        MovementKind.DISPUTE,
        -CENTS,
        dispute.dispute_id,
    )
    assert withdrawn.fee_cents > 0
