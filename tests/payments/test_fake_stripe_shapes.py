"""Every object that the fake ever answers with is one that Stripe could have answered with, by Stripe's own OpenAPI."""

import stripe as vendor

from gollem.payments.stripe_gateway import StripeGateway
from gollem.payments.types import Agreement, PaymentOrder
from tests.fakes.stripe import FakeStripe
from tests.payments import openapi

KINDS = {
    *("customer", "payment_method", "payment_intent", "charge", "refund", "dispute", "balance_transaction", "event"),
    *("account", "bank_account", "transfer", "transfer_reversal", "payout", "topup"),
}


async def live_through(gateway: StripeGateway, stripe: FakeStripe) -> str:
    """A bit of everything. Returns the connected account's id."""
    customer_id = await gateway.create_customer("alice", "customer")
    ids = []
    for number in range(8):
        order = PaymentOrder(f"buy-{number}", 2_000, customer_id)
        ids.append((await gateway.create_payment(order, order.purchase_id)).payment.payment_id)
    for payment_id in ids[:4]:
        stripe.pay(payment_id)
    stripe.decline(ids[4])
    stripe.pay(ids[5], "pm_card_authenticationRequired")
    stripe.process(ids[6])
    await gateway.cancel_payment(ids[7], "cancel")
    await gateway.create_refund(ids[0], "back", 500, "back")
    stripe.fail_refund(stripe.refund_by_hand(ids[0], 100))
    stripe.win(stripe.dispute(ids[1]))
    stripe.lose(stripe.dispute(ids[2]))
    stripe.dispute(ids[3], inquiry=True)
    stripe.release_funds()
    stripe.top_up(10_000)
    stripe.take_fee(100)
    account = await gateway.create_account("seller", "DE", Agreement.RECIPIENT, "account")
    stripe.verify_account(account.connected_id)
    sent = await gateway.create_transfer("po-1", account.connected_id, 2_000, "transfer")
    made = await gateway.create_bank_payout(account.connected_id, "po-1", 1, 900, "bank")
    stripe.bank_fails(made.bank_payout_id)
    stripe.reverse_by_hand(sent.transfer_id, 500)
    stripe.swap_bank(account.connected_id)
    return account.connected_id


async def test_every_object_is_as_stripe_describes_it(gateway: StripeGateway, stripe: FakeStripe) -> None:
    connected_id = await live_through(gateway, stripe)
    shown = {kind: stripe.all(kind) + stripe.all(kind, connected_id) for kind in KINDS}
    assert all(shown.values())
    assert {fault for things in shown.values() for thing in things for fault in openapi.faults(thing)} == set()


async def test_every_event_holds_an_object_as_stripe_describes_it(gateway: StripeGateway, stripe: FakeStripe) -> None:
    connected_id = await live_through(gateway, stripe)
    events = stripe.all("event") + stripe.all("event", connected_id)
    assert {fault for event in events for fault in openapi.faults(event["data"]["object"])} == set()


async def test_what_has_no_id_is_as_stripe_describes_it(
    client: vendor.StripeClient, gateway: StripeGateway, stripe: FakeStripe
) -> None:
    connected_id = await live_through(gateway, stripe)
    balance = await client.v1.balance.retrieve_async()
    link = await client.v1.account_links.create_async(
        {
            "account": connected_id,
            "type": "account_onboarding",
            "return_url": "https://here/",
            "refresh_url": "https://here/",
        }
    )
    assert openapi.faults(balance.to_dict()) == openapi.faults(link.to_dict()) == []
