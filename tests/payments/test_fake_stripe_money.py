"""The fake's money: nothing comes from nowhere, and what Stripe would refuse is refused."""

import pytest
import stripe as vendor

from tests.fakes.clock import FakeClock
from tests.fakes.stripe import FakeStripe
from tests.fakes.stripe.errors import RefusalError

PAID_CENTS = 2_500
NET_CENTS = PAID_CENTS - 103


async def paid(client: vendor.StripeClient, stripe: FakeStripe, card: str = "pm_card_bypassPending") -> str:
    payment = await client.v1.payment_intents.create_async({"amount": PAID_CENTS, "currency": "usd"})
    stripe.pay(payment.id, card)
    return payment.id


async def connected(client: vendor.StripeClient, stripe: FakeStripe, country: str = "US", **more: object) -> str:
    wanted = {"country": country, "type": "express", "capabilities": {"transfers": {"requested": True}}}
    account = await client.v1.accounts.create_async(wanted | more)  # type: ignore[arg-type]
    assert account.payouts_enabled is False
    stripe.verify_account(account.id)
    return account.id


async def send(client: vendor.StripeClient, connected_id: str, cents: int = 1_000) -> vendor.Transfer:
    wanted = {"amount": cents, "currency": "usd", "destination": connected_id, "transfer_group": "po-1"}
    return await client.v1.transfers.create_async(wanted)  # type: ignore[arg-type]


async def pay_out(client: vendor.StripeClient, connected_id: str, cents: int = 1_000) -> vendor.Payout:
    options: vendor.RequestOptions = {"stripe_account": connected_id}
    return await client.v1.payouts.create_async({"amount": cents, "currency": "usd"}, options)


async def test_a_transfer_needs_available_money(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    connected_id = await connected(client, stripe)
    await paid(client, stripe, "pm_card_visa")
    with pytest.raises(vendor.InvalidRequestError) as caught:
        await send(client, connected_id)
    assert caught.value.code == "balance_insufficient"
    assert stripe.all("transfer") == []
    stripe.release_funds()
    await send(client, connected_id)
    assert (stripe.available_cents(), stripe.available_cents(connected_id)) == (NET_CENTS - 1_000, 1_000)


async def test_a_transfer_needs_an_account_that_takes_it(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    stripe.top_up(10_000)
    connected_id = await connected(client, stripe)
    stripe.verify_account(connected_id, can_be_paid=False)
    with pytest.raises(vendor.InvalidRequestError) as caught:
        await send(client, connected_id)
    assert caught.value.code == "insufficient_capabilities_for_transfer"
    with pytest.raises(vendor.InvalidRequestError):
        await send(client, "acct_nobody")
    abroad = await connected(client, stripe, "DE")
    with pytest.raises(vendor.InvalidRequestError):
        await send(client, abroad)
    await send(client, await connected(client, stripe, "DE", tos_acceptance={"service_agreement": "recipient"}))
    assert stripe.available_cents() == 9_000


async def test_a_transfer_is_found_by_its_group_and_reversed_once(
    client: vendor.StripeClient, stripe: FakeStripe
) -> None:
    stripe.top_up(10_000)
    connected_id = await connected(client, stripe)
    sent = await send(client, connected_id)
    found = await client.v1.transfers.list_async({"transfer_group": "po-1"})
    assert [one.id for one in found.data] == [sent.id]
    assert (await client.v1.transfers.list_async({"transfer_group": "po-2"})).data == []
    await client.v1.transfers.reversals.create_async(sent.id)
    with pytest.raises(vendor.InvalidRequestError):
        await client.v1.transfers.reversals.create_async(sent.id)
    again = await client.v1.transfers.retrieve_async(sent.id)
    assert (again.reversed, again.amount_reversed, again.reversals.data[0].amount) == (True, 1_000, 1_000)
    assert (stripe.available_cents(), stripe.available_cents(connected_id)) == (10_000, 0)


async def test_what_was_paid_out_cannot_be_reversed(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    stripe.top_up(10_000)
    connected_id = await connected(client, stripe)
    sent = await send(client, connected_id)
    await pay_out(client, connected_id, 1)
    with pytest.raises(RefusalError):
        stripe.reverse_by_hand(sent.id)


async def test_a_bank_payout_leaves_at_once_and_comes_back_when_it_fails(
    client: vendor.StripeClient, stripe: FakeStripe
) -> None:
    stripe.top_up(10_000)
    connected_id = await connected(client, stripe)
    await send(client, connected_id)
    payout = await pay_out(client, connected_id)
    assert stripe.available_cents(connected_id) == 0
    with pytest.raises(vendor.InvalidRequestError):
        await pay_out(client, connected_id)
    stripe.bank_takes(payout.id)
    stripe.bank_pays(payout.id)
    stripe.bank_fails(payout.id)
    options: vendor.RequestOptions = {"stripe_account": connected_id}
    failed = await client.v1.payouts.retrieve_async(payout.id, {}, options)
    assert (failed.status, failed.failure_code) == ("failed", "account_closed")
    assert stripe.available_cents(connected_id) == 1_000
    with pytest.raises(RefusalError):
        stripe.bank_pays(payout.id)
    told = await client.v1.events.list_async({"types": ["payout.paid", "payout.failed"]}, options)
    assert [event.type for event in told.data] == ["payout.failed", "payout.paid"]
    assert (await client.v1.events.list_async({"types": ["payout.paid"]})).data == []


async def test_an_account_that_left_is_out_of_reach(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    connected_id = await connected(client, stripe)
    stripe.leave(connected_id)
    with pytest.raises(vendor.PermissionError):
        await client.v1.accounts.retrieve_async(connected_id)
    with pytest.raises(vendor.PermissionError):
        await pay_out(client, connected_id)


async def test_a_link_is_good_for_minutes(client: vendor.StripeClient, stripe: FakeStripe, clock: FakeClock) -> None:
    connected_id = await connected(client, stripe)
    urls = {"return_url": "https://here/", "refresh_url": "https://here/again"}
    link = await client.v1.account_links.create_async(
        {"account": connected_id, "type": "account_onboarding", **urls}  # type: ignore[typeddict-item]
    )
    assert link.expires_at == clock.now_ms() // 1000 + 300


async def test_a_refund_keeps_the_fee_and_never_exceeds_the_charge(
    client: vendor.StripeClient, stripe: FakeStripe
) -> None:
    payment_id = await paid(client, stripe)
    refund = await client.v1.refunds.create_async({"payment_intent": payment_id, "amount": 1_000})
    assert (refund.status, stripe.available_cents()) == ("succeeded", NET_CENTS - 1_000)
    with pytest.raises(vendor.InvalidRequestError):
        await client.v1.refunds.create_async({"payment_intent": payment_id, "amount": 1_501})
    rest = await client.v1.refunds.create_async({"payment_intent": payment_id})
    assert rest.amount == 1_500
    with pytest.raises(vendor.InvalidRequestError) as caught:
        await client.v1.refunds.create_async({"payment_intent": payment_id})
    assert caught.value.code == "charge_already_refunded"
    stripe.fail_refund(rest.id)
    assert stripe.available_cents() == NET_CENTS - 1_000
    kinds = [txn["type"] for txn in stripe.all("balance_transaction")]
    assert kinds == ["charge", "refund", "refund", "refund_failure"]


async def test_a_refund_may_take_days(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    payment_id = await paid(client, stripe)
    stripe.refunds.take_days = True
    refund = await client.v1.refunds.create_async({"payment_intent": payment_id})
    assert refund.status == "pending"
    stripe.settle_refund(refund.id)
    listed = await client.v1.refunds.list_async({"payment_intent": payment_id})
    assert [one.status for one in listed.data] == ["succeeded"]


async def test_a_dispute_takes_its_amount_and_a_fee_and_gives_the_amount(
    client: vendor.StripeClient, stripe: FakeStripe
) -> None:
    payment_id = await paid(client, stripe)
    dispute_id = stripe.dispute(payment_id, 2_600)
    assert stripe.available_cents() == NET_CENTS - 2_600 - 1_500
    with pytest.raises(vendor.InvalidRequestError) as caught:
        await client.v1.refunds.create_async({"payment_intent": payment_id})
    assert caught.value.code == "charge_disputed"
    stripe.win(dispute_id)
    won = await client.v1.disputes.retrieve_async(dispute_id)
    moved = [(txn.type, txn.amount, txn.fee, txn.net) for txn in won.balance_transactions]
    assert (won.status, moved) == ("won", [("adjustment", -2_600, 1_500, -4_100), ("adjustment", 2_600, 0, 2_600)])
    assert stripe.available_cents() == NET_CENTS - 1_500


async def test_an_inquiry_moves_nothing_until_it_is_a_dispute(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    payment_id = await paid(client, stripe)
    dispute_id = stripe.dispute(payment_id, inquiry=True)
    inquiry = await client.v1.disputes.retrieve_async(dispute_id)
    assert (inquiry.status, inquiry.balance_transactions) == ("warning_needs_response", [])
    assert stripe.available_cents() == NET_CENTS
    stripe.escalate(dispute_id)
    stripe.lose(dispute_id)
    lost = await client.v1.disputes.retrieve_async(dispute_id)
    assert (lost.status, stripe.available_cents()) == ("lost", NET_CENTS - PAID_CENTS - 1_500)


async def test_every_balance_is_the_sum_of_its_transactions(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    await paid(client, stripe)
    stripe.take_fee(200)
    stripe.move_oddly(7)
    stripe.pay_out_by_hand(500)
    listed = await client.v1.balance_transactions.list_async({"limit": 100})
    assert [txn.net for txn in listed.data] == [-500, 7, -200, NET_CENTS]
    balance = await client.v1.balance.retrieve_async()
    assert balance.available[0].amount == sum(txn.net for txn in listed.data)


async def test_the_books_may_know_of_a_charge_later(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    stripe.charges.book_later = True
    payment_id = await paid(client, stripe)
    payment = await client.v1.payment_intents.retrieve_async(payment_id, {"expand": ["latest_charge"]})
    assert isinstance(payment.latest_charge, vendor.Charge)
    assert (payment.status, payment.latest_charge.balance_transaction) == ("succeeded", None)
    assert stripe.available_cents() == 0
    stripe.book_charges()
    stripe.book_charges()
    assert stripe.available_cents() == NET_CENTS
