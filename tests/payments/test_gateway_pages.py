"""What is further back than one page of the payment provider's lists is read, and found."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gollem.errors import OutcomeUnknown
from gollem.payments import stripe_gateway
from gollem.payments.stripe_gateway import StripeGateway
from gollem.payments.types import Agreement, Page, PaymentOrder
from tests.fakes.stripe import FakeStripe

MADE = 130  # a page has 100


@pytest.fixture
async def payment_ids(gateway: StripeGateway, stripe: FakeStripe) -> list[str]:
    """Oldest first, all paid."""
    orders = [PaymentOrder(f"buy-{number}", 100) for number in range(MADE)]
    made = await asyncio.gather(*[gateway.create_payment(order, order.purchase_id) for order in orders])
    for one in made:
        stripe.pay(one.payment.payment_id, "pm_card_bypassPending")
    return [payment["id"] for payment in stripe.all("payment_intent")]


async def every(ask: Callable[[int, str], Awaitable[Page[Any]]]) -> list[Any]:
    page = await ask(0, "")
    found = list(page.items)
    while page.next:
        page = await ask(0, page.next)
        found += page.items
    return found


async def test_every_payment_event_and_movement_is_read_once(
    gateway: StripeGateway, stripe: FakeStripe, payment_ids: list[str]
) -> None:
    assert [one.payment_id for one in await every(gateway.payments_since)] == payment_ids[::-1]
    assert [one.event_id for one in await every(gateway.events_since)][::-1] == [
        event["id"] for event in stripe.all("event")
    ]
    movements = await every(gateway.movements_since)
    assert len(movements) == MADE
    assert sum(one.net_cents for one in movements) == (await gateway.funds()).cents


async def test_a_payment_far_back_is_found(gateway: StripeGateway, payment_ids: list[str]) -> None:
    found = await gateway.find_payment("buy-0", 0)
    assert found is not None
    assert found.payment_id in payment_ids[: MADE - 100]
    assert await gateway.find_payment("buy-nobody", 0) is None


async def test_a_list_that_is_too_long_to_look_through_is_no_answer(
    gateway: StripeGateway, payment_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_gateway, "PAGES_MAX", 1)
    with pytest.raises(OutcomeUnknown):
        await gateway.find_payment("buy-nobody", 0)


async def test_a_refund_and_a_bank_payout_far_back_are_found(gateway: StripeGateway, stripe: FakeStripe) -> None:
    stripe.top_up(MADE * 1_000)
    payment_id = (await gateway.create_payment(PaymentOrder("buy", MADE * 100), "buy")).payment.payment_id
    stripe.pay(payment_id)
    account = await gateway.create_account("seller", "US", Agreement.FULL, "account")
    stripe.verify_account(account.connected_id)
    await gateway.create_transfer("po", account.connected_id, MADE * 100, "transfer")
    await gateway.create_refund(payment_id, "back-1", 100, "refund")
    await gateway.create_bank_payout(account.connected_id, "po", 1, 100, "bank")
    for _ in range(MADE - 1):
        stripe.refund_by_hand(payment_id, 100)
        stripe.pay_out_by_hand(100, account.connected_id)
    assert await gateway.find_refund(payment_id, "back-1") is not None
    assert await gateway.find_bank_payout(account.connected_id, "po", 1) is not None
    assert len(await gateway.bank_payouts_under_way(account.connected_id)) == MADE
