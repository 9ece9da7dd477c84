"""What payers and their banks do at the fake, and how the gateway sees it."""

import pytest

from gollem.errors import PaymentRefused
from gollem.payments.stripe_gateway import StripeGateway
from gollem.payments.types import PaymentOrder, PaymentStatus
from tests.fakes.stripe import FakeStripe
from tests.fakes.stripe.errors import RefusalError

ORDER = PaymentOrder("buy-1", 2_500)


@pytest.fixture
async def payment_id(gateway: StripeGateway) -> str:
    return (await gateway.create_payment(ORDER, "key")).payment.payment_id


async def status(gateway: StripeGateway, payment_id: str) -> PaymentStatus:
    payment = await gateway.payment(payment_id)
    assert payment is not None
    assert (payment.received_cents == ORDER.cents) is (payment.status is PaymentStatus.SUCCEEDED)
    return payment.status


async def kept_card(gateway: StripeGateway, stripe: FakeStripe) -> tuple[str, str]:
    """A customer and the card that is kept for it."""
    customer_id = await gateway.create_customer("alice", "customer")
    order = PaymentOrder("first", 1_000, customer_id)
    first = (await gateway.create_payment(order, "first")).payment
    stripe.pay(first.payment_id)
    paid = await gateway.payment(first.payment_id)
    assert paid is not None
    return customer_id, paid.card_id


async def test_a_bank_debit_takes_days_and_arrives(gateway: StripeGateway, stripe: FakeStripe, payment_id: str) -> None:
    stripe.process(payment_id)
    assert await status(gateway, payment_id) is PaymentStatus.PROCESSING
    assert stripe.pending_cents() == 0
    stripe.succeed(payment_id)
    assert await status(gateway, payment_id) is PaymentStatus.SUCCEEDED
    assert [txn["type"] for txn in stripe.all("balance_transaction")] == ["payment"]


async def test_a_bank_debit_bounces(gateway: StripeGateway, stripe: FakeStripe, payment_id: str) -> None:
    stripe.process(payment_id)
    with pytest.raises(PaymentRefused):
        await gateway.cancel_payment(payment_id, "cancel")
    stripe.fail(payment_id)
    assert await status(gateway, payment_id) is PaymentStatus.WAITING
    assert stripe.all("balance_transaction") == []
    assert stripe.all("event")[-1]["type"] == "payment_intent.payment_failed"


@pytest.mark.parametrize(("passes", "then"), [(True, PaymentStatus.SUCCEEDED), (False, PaymentStatus.WAITING)])
async def test_a_bank_asks_for_its_customer(
    gateway: StripeGateway, stripe: FakeStripe, payment_id: str, passes: bool, then: PaymentStatus
) -> None:
    stripe.pay(payment_id, "pm_card_authenticationRequired")
    assert await status(gateway, payment_id) is PaymentStatus.WAITING
    stripe.authenticate(payment_id, passes=passes)
    assert await status(gateway, payment_id) is then


async def test_an_answer_that_never_comes_can_be_cancelled(
    gateway: StripeGateway, stripe: FakeStripe, payment_id: str
) -> None:
    stripe.pay(payment_id, "pm_card_authenticationRequired")
    await gateway.cancel_payment(payment_id, "cancel")
    with pytest.raises(RefusalError):
        stripe.authenticate(payment_id)
    assert await status(gateway, payment_id) is PaymentStatus.CANCELLED


async def test_nobody_pays_twice(stripe: FakeStripe, payment_id: str) -> None:
    stripe.pay(payment_id)
    with pytest.raises(RefusalError):
        stripe.pay(payment_id)
    assert len(stripe.all("charge")) == 1


@pytest.mark.parametrize(
    ("turned", "code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined"),
        ("pm_card_authenticationRequired", "authentication_required"),
    ],
)
async def test_a_kept_card_says_no_one_day(gateway: StripeGateway, stripe: FakeStripe, turned: str, code: str) -> None:
    customer_id, card_id = await kept_card(gateway, stripe)
    stripe.turn_card(card_id, turned)
    with pytest.raises(PaymentRefused) as caught:
        await gateway.create_payment(PaymentOrder("buy-1", 2_500, customer_id, card_id), "key")
    assert caught.value.code == code
    left = await gateway.find_payment("buy-1", 0)
    assert left is not None
    assert left.status is PaymentStatus.WAITING


async def test_a_card_of_somebody_else_is_not_charged(gateway: StripeGateway, stripe: FakeStripe) -> None:
    _, card_id = await kept_card(gateway, stripe)
    other_id = await gateway.create_customer("bob", "other")
    with pytest.raises(PaymentRefused):
        await gateway.create_payment(PaymentOrder("buy-1", 2_500, other_id, card_id), "key")
    assert len(stripe.all("charge")) == 1
