"""The fake is as strict as Stripe where others rely on it: keys, stored errors, balances. Spoken to with Stripe's own
client, so that what the fake answers is also what that client can read."""

import asyncio
from typing import Any

import pytest
import stripe as vendor

from tests.fakes.clock import FakeClock
from tests.fakes.stripe import FakeStripe, Fault
from tests.fakes.stripe.in_process import InProcessClient
from tests.until import until

DAY_MS = 86_400_000
ORDER = {"amount": 2_500, "currency": "usd", "metadata": {"purchase": "buy-1"}}


async def create(client: vendor.StripeClient, key: str = "k", **changes: Any) -> vendor.PaymentIntent:
    return await client.v1.payment_intents.create_async(ORDER | changes, {"idempotency_key": key})  # type: ignore[arg-type]


async def test_the_same_key_answers_the_same_and_makes_nothing(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    first = await create(client)
    again = await create(client)
    assert (first.id, first.client_secret) == (again.id, again.client_secret)
    assert len(stripe.all("payment_intent")) == 1


async def test_a_key_is_forgotten_after_a_day_and_does_it_again(
    client: vendor.StripeClient, stripe: FakeStripe, clock: FakeClock
) -> None:
    first = await create(client)
    clock.advance_ms(DAY_MS - 1_000)
    assert (await create(client)).id == first.id
    clock.advance_ms(2_000)
    assert (await create(client)).id != first.id
    assert len(stripe.all("payment_intent")) == 2


async def test_other_parameters_under_one_key_are_refused(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    await create(client)
    with pytest.raises(vendor.IdempotencyError):
        await create(client, amount=2_600)
    assert len(stripe.all("payment_intent")) == 1


@pytest.mark.parametrize(("fault", "made"), [(Fault.ERROR_BEFORE, 0), (Fault.ERROR_AFTER, 1)])
async def test_a_500_is_kept_under_its_key(
    client: vendor.StripeClient, stripe: FakeStripe, fault: Fault, made: int
) -> None:
    stripe.faults.next("POST /v1/payment_intents", fault)
    for _ in range(2):
        with pytest.raises(vendor.APIError) as caught:
            await create(client)
        assert caught.value.http_status == 500
    assert stripe.faults.is_done
    assert len(stripe.all("payment_intent")) == made
    await create(client, key="another")
    assert len(stripe.all("payment_intent")) == made + 1


async def test_429_and_bad_parameters_are_not_kept(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    stripe.faults.next("POST /v1/payment_intents", Fault.RATE_LIMITED)
    with pytest.raises(vendor.RateLimitError):
        await create(client)
    with pytest.raises(vendor.InvalidRequestError):
        await create(client, amount=1)
    assert (await create(client)).amount == 2_500


async def test_a_decline_is_kept(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    declined: dict[str, Any] = {"confirm": True, "payment_method": "pm_card_visa_chargeDeclined"}
    for _ in range(2):
        with pytest.raises(vendor.CardError):
            await create(client, **declined)
    (payment,) = stripe.all("payment_intent")
    assert payment["status"] == "requires_payment_method"


@pytest.mark.parametrize(("fault", "made"), [(Fault.LOST_REQUEST, 0), (Fault.LOST_REPLY, 1)])
async def test_a_lost_connection(client: vendor.StripeClient, stripe: FakeStripe, fault: Fault, made: int) -> None:
    stripe.faults.next("POST /v1/payment_intents", fault)
    with pytest.raises(vendor.APIConnectionError):
        await create(client)
    assert len(stripe.all("payment_intent")) == made
    await create(client)
    assert len(stripe.all("payment_intent")) == 1


async def test_a_key_in_the_works_is_in_use_and_goes_on_without_its_caller(
    client: vendor.StripeClient, stripe: FakeStripe
) -> None:
    stripe.faults.next("POST /v1/payment_intents", Fault.SLOW)
    caller = asyncio.create_task(create(client))
    await until(lambda: stripe.calls)
    with pytest.raises(vendor.APIError) as caught:
        await create(client)
    assert caught.value.http_status == 409
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    stripe.faults.release()
    await until(lambda: stripe.all("payment_intent"))
    assert (await create(client)).id == stripe.all("payment_intent")[0]["id"]


async def test_a_wrong_key_and_an_unknown_parameter_are_refused(
    client: vendor.StripeClient, stripe: FakeStripe
) -> None:
    with pytest.raises(vendor.AuthenticationError):
        await client.v1.payment_intents.list_async({}, {"api_key": "sk_test_other"})
    with pytest.raises(vendor.InvalidRequestError, match="unknown parameter"):
        await create(client, amout=5)


async def test_pages_are_newest_first(client: vendor.StripeClient, clock: FakeClock) -> None:
    made = []
    for number in range(5):
        clock.advance_ms(1_000)
        made.append((await create(client, key=str(number))).id)
    page = await client.v1.payment_intents.list_async({"limit": 2})
    rest = await client.v1.payment_intents.list_async({"limit": 3, "starting_after": page.data[-1].id})
    assert [one.id for one in [*page.data, *rest.data]] == made[::-1]
    assert (page.has_more, rest.has_more) == (True, False)
    since_s = clock.now_ms() // 1000 - 1
    assert len((await client.v1.payment_intents.list_async({"created": {"gte": since_s}})).data) == 2


async def test_a_page_goes_on_after_what_its_filter_leaves_out(client: vendor.StripeClient) -> None:
    customer = await client.v1.customers.create_async()
    wanted = await create(client, key="1", customer=customer.id)
    other = await create(client, key="2")
    await create(client, key="3", customer=customer.id)
    page = await client.v1.payment_intents.list_async({"customer": customer.id, "starting_after": other.id})
    assert [one.id for one in page.data] == [wanted.id]


async def test_lists_may_lag_behind(client: vendor.StripeClient, stripe: FakeStripe, clock: FakeClock) -> None:
    stripe.lag_lists(30)
    payment = await create(client)
    clock.advance_ms(29_000)
    assert (await client.v1.payment_intents.list_async()).data == []
    assert (await client.v1.payment_intents.retrieve_async(payment.id)).id == payment.id
    clock.advance_ms(1_000)
    assert [one.id for one in (await client.v1.payment_intents.list_async()).data] == [payment.id]


async def test_a_charge_pays_a_fee_and_is_pending_first(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    payment = await create(client)
    stripe.pay(payment.id)
    shown = await client.v1.payment_intents.retrieve_async(
        payment.id, {"expand": ["latest_charge.balance_transaction"]}
    )
    assert isinstance(shown.latest_charge, vendor.Charge)
    movement = shown.latest_charge.balance_transaction
    assert isinstance(movement, vendor.BalanceTransaction)
    assert (movement.amount, movement.fee, movement.net, movement.status) == (2_500, 103, 2_397, "pending")
    assert (stripe.available_cents(), stripe.pending_cents()) == (0, 2_397)
    stripe.release_funds()
    balance = await client.v1.balance.retrieve_async()
    assert (balance.available[0].amount, balance.pending[0].amount) == (2_397, 0)


async def test_events_are_signed_and_listed(client: vendor.StripeClient, stripe: FakeStripe) -> None:
    payment = await create(client)
    stripe.pay(payment.id)
    listed = await client.v1.events.list_async({"types": ["payment_intent.succeeded"]})
    assert [event.data.object["id"] for event in listed.data] == [payment.id]
    for raw, signature in stripe.webhooks.take():
        (secret,) = stripe.webhooks.platform_secrets
        assert vendor.WebhookSignature.verify_header(raw, signature, secret)
        with pytest.raises(vendor.SignatureVerificationError):
            vendor.WebhookSignature.verify_header(raw + b" ", signature, secret)
    assert stripe.webhooks.pending == []


async def test_it_answers_without_a_network_too(clock: FakeClock) -> None:
    fake = FakeStripe(clock)
    client = vendor.StripeClient(fake.secret_key, http_client=InProcessClient(fake.api), max_network_retries=0)
    fake.faults.next("POST /v1/payment_intents", Fault.LOST_REPLY)
    with pytest.raises(vendor.APIConnectionError):
        await create(client)
    payment = await create(client)
    listed = await client.v1.payment_intents.list_async({"created": {"gte": payment.created}, "limit": 1})
    assert [one.id for one in listed.data] == [payment.id]
    assert len(fake.all("payment_intent")) == 1
