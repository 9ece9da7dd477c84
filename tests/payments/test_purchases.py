"""Credits bought by card: once for each payment that has succeeded, and for nothing else."""

import asyncio
from dataclasses import replace

import pytest

from gollem.errors import (
    InvalidField,
    KeyReused,
    OutcomeUnknown,
    PaymentsUnavailable,
    UnknownPurchase,
)
from gollem.ledger import Entry, records, rules
from gollem.payments.purchases import stored_id
from gollem.payments.types import Payment, PaymentOrder
from tests.fakes.stripe import Fault
from tests.payments.shop import DAY_MS, MINUTE_MS, ON_EVERY_LEDGER, ON_ONE_LEDGER, USD, Shop

CREATE = "POST /v1/payment_intents"


@ON_EVERY_LEDGER
async def test_a_purchase_is_credited_once_it_is_paid(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    assert created.purchase.state == "CREATED"
    await shop.catch_up()
    assert await shop.available() == 0  # nobody has paid yet

    shop.stripe.pay(created.purchase.text("payment_id"))
    await shop.catch_up()
    assert await shop.available() == 25 * USD
    seen = await shop.purchases.find("alice", "buy-1")
    assert (seen.state, seen.cents, seen.payment_id) == ("credited", 2_500, shop.payments()[0])
    assert seen.receipt_url.startswith("https://")


async def test_the_client_secret_is_told_once_and_shown_nowhere(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    secret = shop.stripe.object("payment_intent", shop.payments()[0])["client_secret"]
    assert created.client_secret == secret
    assert secret not in repr(created)

    again = await shop.purchases.create("alice", "buy-1", 2_500)
    assert (again.client_secret, again.pay_url) == ("", "")
    assert again.purchase == created.purchase
    assert secret not in repr(await _journal(shop))


@ON_EVERY_LEDGER
async def test_of_20_who_create_it_at_once_one_is_told_the_secret(shop: Shop) -> None:
    """Those who ask while the first is still asking are to ask again."""
    created = await asyncio.gather(
        *(shop.purchases.create("alice", "buy-1", 2_500) for _ in range(20)), return_exceptions=True
    )
    told = [one for one in created if not isinstance(one, BaseException) and one.client_secret]
    assert len(told) == 1
    assert all(isinstance(one, OutcomeUnknown) for one in created if isinstance(one, BaseException))
    assert len(shop.payments()) == 1


@ON_ONE_LEDGER
@pytest.mark.parametrize("cents", [99, 100_001, 0, -2_500, 25.0, "2500", True])
async def test_amounts_out_of_range_ask_for_nothing(shop: Shop, cents: int) -> None:
    with pytest.raises(InvalidField, match="amount_usd"):
        await shop.purchases.create("alice", "buy-1", cents)
    assert shop.payments() == []
    assert await shop.ledger.records(records.PURCHASE, "CREATED") == []


@ON_ONE_LEDGER
@pytest.mark.parametrize("purchase_id", ["", "a" * 65, "a b", "a/b", "ä"])
async def test_ids_that_cannot_be_are_refused(shop: Shop, purchase_id: str) -> None:
    with pytest.raises(InvalidField, match="purchase_id"):
        await shop.purchases.create("alice", purchase_id, 2_500)
    assert shop.payments() == []


async def test_two_users_who_choose_one_id_do_not_meet(shop: Shop) -> None:
    await shop.buy(2_500, "order-1", "alice")
    with pytest.raises(UnknownPurchase):
        await shop.purchases.find("bob", "order-1")
    created = await shop.purchases.create("bob", "order-1", 900)
    assert created.client_secret
    shop.stripe.pay(created.purchase.text("payment_id"))
    await shop.catch_up()
    assert (await shop.available("alice"), await shop.available("bob")) == (25 * USD, 9 * USD)


@ON_EVERY_LEDGER
async def test_one_id_is_one_purchase(shop: Shop) -> None:
    await shop.purchases.create("alice", "buy-1", 2_500)
    with pytest.raises(KeyReused):
        await shop.purchases.create("alice", "buy-1", 2_600)
    with pytest.raises(KeyReused):
        await shop.purchases.create("alice", "buy-1", 2_500, keep_card=True)
    assert len(shop.payments()) == 1


# --- faults 42 to 44 ------------------------------------------------------------------------------------------------


@ON_EVERY_LEDGER
async def test_fault_42_many_tell_of_one_payment_and_it_is_credited_once(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    shop.stripe.pay(created.purchase.text("payment_id"))
    await asyncio.gather(*(shop.purchases.refresh(created.purchase.text("payment_id")) for _ in range(20)))
    await shop.catch_up()
    assert await shop.available() == 25 * USD


async def test_fault_43_paid_before_our_call_returned(shop: Shop) -> None:
    """The reply was lost; the payment was made, and somebody has paid it."""
    shop.stripe.faults.next(CREATE, Fault.LOST_REPLY)
    with pytest.raises(OutcomeUnknown):
        await shop.purchases.create("alice", "buy-1", 2_500)
    shop.stripe.pay(shop.payments()[0])
    await shop.catch_up()
    assert await shop.available() == 25 * USD

    again = await shop.purchases.create("alice", "buy-1", 2_500)
    assert (again.purchase.state, again.client_secret) == ("CREDITED", "")
    assert len(shop.payments()) == 1
    assert await shop.alerts() == []


async def test_fault_43_an_early_event_does_not_take_the_secret_away(shop: Shop) -> None:
    """Told that the payment was made before we have written which it is: the one who made it is still told."""

    async def told_early(order: PaymentOrder, key: str) -> object:
        made = await shop.gateway.create_payment(order, key)
        await shop.catch_up()
        return made

    created = await shop.with_gateway(create_payment=told_early).purchases.create("alice", "buy-1", 2_500)
    assert created.client_secret


async def test_fault_44_unknown_purchase(shop: Shop) -> None:
    made = await shop.gateway.create_payment(PaymentOrder("somebody-elses", 2_500), "k")
    await _not_credited(shop, made.payment.payment_id)


@pytest.mark.parametrize("cents", [2_499, 2_501, 250_000])
async def test_fault_44_wrong_amount(shop: Shop, cents: int) -> None:
    now_ms = shop.clock.now_ms()
    await shop.ledger.post(rules.purchase_created(stored_id("alice", "buy-1"), "alice", 2_500, now_ms))
    made = await shop.gateway.create_payment(PaymentOrder(stored_id("alice", "buy-1"), cents), "k")
    await _not_credited(shop, made.payment.payment_id)
    await shop.buy()  # is still possible
    assert await shop.available() == 25 * USD


@ON_EVERY_LEDGER
async def test_fault_44_second_payment_of_one_purchase(shop: Shop) -> None:
    created = await shop.buy()
    made = await shop.gateway.create_payment(PaymentOrder(created.purchase.id, 2_500), "k")
    shop.stripe.pay(made.payment.payment_id)
    await shop.catch_up()
    assert await shop.available() == 25 * USD
    assert await shop.alerts() == [f"payment:{made.payment.payment_id}"]


@ON_EVERY_LEDGER
async def test_fault_44_paid_after_it_was_cancelled(shop: Shop) -> None:
    await shop.purchases.create("alice", "buy-1", 2_500)
    await _cancelled_after_a_day(shop)
    made = await shop.gateway.create_payment(PaymentOrder(stored_id("alice", "buy-1"), 2_500), "k")
    await _not_credited(shop, made.payment.payment_id)


async def test_fault_44_paid_after_it_was_cancelled_without_a_payment(shop: Shop) -> None:
    now_ms = shop.clock.now_ms()
    await shop.ledger.post(rules.purchase_created(stored_id("alice", "buy-1"), "alice", 2_500, now_ms))
    await _cancelled_after_a_day(shop)
    made = await shop.gateway.create_payment(PaymentOrder(stored_id("alice", "buy-1"), 2_500), "k")
    await _not_credited(shop, made.payment.payment_id)


async def test_fault_44_metadata_decides_nothing(shop: Shop) -> None:
    """A payment that names bob's purchase, and has its amount, is not the one that was made for it."""
    await shop.purchases.create("bob", "buy-1", 2_500)
    made = await shop.gateway.create_payment(PaymentOrder(stored_id("bob", "buy-1"), 2_500), "k")
    await _not_credited(shop, made.payment.payment_id)
    assert await shop.available("bob") == 0


async def test_fault_44_other_mode(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    payment_id = created.purchase.text("payment_id")
    shop.stripe.pay(payment_id)
    live = shop.with_gateway(livemode=True)
    await live.purchases.refresh(payment_id)
    assert await shop.available() == 0
    assert await shop.alerts() == [f"payment:{payment_id}"]


async def _not_credited(shop: Shop, payment_id: str) -> None:
    """However often it is told; a person is told once."""
    shop.stripe.pay(payment_id)
    for _ in range(2):
        await shop.catch_up()
        await shop.purchases.refresh(payment_id)
    assert await shop.available() == 0
    assert await shop.alerts() == [f"payment:{payment_id}"]


async def _still_payable(shop: Shop) -> None:
    shop.stripe.pay((await shop.purchase()).text("payment_id"))
    await shop.catch_up()
    assert await shop.available() == 25 * USD


# --- fault 47 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.RATE_LIMITED]
)
@pytest.mark.parametrize("later_ms", [2 * MINUTE_MS, 25 * 3_600_000])
async def test_fault_47_one_payment_whatever_becomes_of_the_call(shop: Shop, fault: Fault, later_ms: int) -> None:
    """Also when Stripe has forgotten the key."""
    shop.stripe.faults.next(CREATE, fault)
    with pytest.raises((OutcomeUnknown, PaymentsUnavailable)):
        await shop.purchases.create("alice", "buy-1", 2_500)
    assert shop.stripe.faults.is_done

    shop.clock.advance_ms(later_ms)
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    assert shop.payments() == [created.purchase.text("payment_id")]
    shop.stripe.pay(created.purchase.text("payment_id"))
    await shop.catch_up()
    assert await shop.available() == 25 * USD


# --- fault 48 -------------------------------------------------------------------------------------------------------


async def test_fault_48_owner_never_confirms(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    payment_id = created.purchase.text("payment_id")
    shop.stripe.pay(payment_id, "pm_card_authenticationRequired")
    await _cancelled_after_a_day(shop)
    assert shop.stripe.object("payment_intent", payment_id)["status"] == "canceled"


@ON_EVERY_LEDGER
async def test_fault_48_bank_debit_bounces(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    payment_id = created.purchase.text("payment_id")
    shop.stripe.process(payment_id)
    await shop.catch_up()
    assert (await shop.purchases.find("alice", "buy-1")).state == "pending"
    shop.clock.advance_ms(3 * DAY_MS)
    await shop.purchases.sweep()
    assert (await shop.purchase()).state == "CREATED"  # a bank takes its days
    assert not [call for call in shop.stripe.calls if "cancel" in str(call)]

    shop.stripe.fail(payment_id)
    await shop.catch_up()
    assert (await shop.available(), await shop.alerts()) == (0, [])
    await _cancelled_after_a_day(shop)


async def test_fault_48_card_is_declined(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    shop.stripe.decline(created.purchase.text("payment_id"))
    await shop.catch_up()
    assert await shop.available() == 0
    await _still_payable(shop)  # with another card


async def test_bank_debit_that_arrives_is_credited(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    payment_id = created.purchase.text("payment_id")
    shop.stripe.process(payment_id)
    shop.clock.advance_ms(4 * DAY_MS)
    await shop.purchases.sweep()
    shop.stripe.succeed(payment_id)
    await shop.catch_up()
    assert await shop.available() == 25 * USD


async def _cancelled_after_a_day(shop: Shop) -> None:
    shop.clock.advance_ms(DAY_MS)
    assert await shop.purchases.sweep() == 1
    await shop.catch_up()
    assert (await shop.purchases.find("alice", "buy-1")).state == "cancelled"
    assert await shop.available() == 0


# --- sweeping -------------------------------------------------------------------------------------------------------


@ON_EVERY_LEDGER
async def test_sweep_credits_what_nobody_told_of(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    shop.stripe.pay(created.purchase.text("payment_id"))
    assert await shop.purchases.sweep() == 1
    assert await shop.available() == 25 * USD


async def test_sweep_credits_what_our_call_did_not_live_to_write(shop: Shop) -> None:
    shop.stripe.faults.next(CREATE, Fault.LOST_REPLY)
    with pytest.raises(OutcomeUnknown):
        await shop.purchases.create("alice", "buy-1", 2_500)
    shop.stripe.pay(shop.payments()[0])
    assert await shop.purchases.sweep() == 0  # the call may be under way
    shop.clock.advance_ms(MINUTE_MS)
    assert await shop.purchases.sweep() == 1
    assert await shop.available() == 25 * USD


async def test_looking_at_a_purchase_credits_what_nobody_told_of(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    shop.stripe.pay(created.purchase.text("payment_id"))
    assert (await shop.purchases.find("alice", "buy-1")).state == "credited"
    assert await shop.available() == 25 * USD


async def test_purchase_without_a_payment_is_cancelled_after_a_day(shop: Shop) -> None:
    shop.stripe.faults.next(CREATE, Fault.LOST_REQUEST)
    with pytest.raises((OutcomeUnknown, PaymentsUnavailable)):
        await shop.purchases.create("alice", "buy-1", 2_500)
    await _cancelled_after_a_day(shop)
    again = await shop.purchases.create("alice", "buy-1", 2_500)
    assert (again.purchase.state, again.client_secret) == ("CANCELLED", "")
    assert shop.payments() == []


async def test_paid_in_the_last_moment_is_credited(shop: Shop) -> None:
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    payment_id = created.purchase.text("payment_id")

    async def cancel(payment: str, key: str) -> object:
        shop.stripe.pay(payment_id)
        return await shop.gateway.cancel_payment(payment, key)

    shop.clock.advance_ms(DAY_MS)
    assert await shop.with_gateway(cancel_payment=cancel).purchases.sweep() == 1
    assert (await shop.purchase()).state == "CREDITED"
    assert await shop.available() == 25 * USD


@ON_ONE_LEDGER
async def test_one_purchase_that_cannot_be_looked_at_keeps_no_other_waiting(shop: Shop) -> None:
    for number in range(3):
        created = await shop.purchases.create("alice", f"buy-{number}", 2_500)
        shop.stripe.pay(created.purchase.text("payment_id"))
    shop.stripe.faults.next("GET /v1/payment_intents/{id}", Fault.RATE_LIMITED)
    assert await shop.purchases.sweep() == 2
    assert await shop.purchases.sweep() == 1
    assert await shop.available() == 75 * USD


# --- fault 51, cards ------------------------------------------------------------------------------------------------


@ON_EVERY_LEDGER
async def test_fault_51_debt_is_repaid_first(shop: Shop) -> None:
    await shop.desk.withdraw_dispute("du_1", "txn_1", "alice", 8 * USD, 0)
    await shop.buy(500, "buy-1")
    assert (await shop.available(), await shop.ledger.account_atoms("D:alice")) == (0, -3 * USD)
    await shop.buy(500, "buy-2")
    assert (await shop.available(), await shop.ledger.account_atoms("D:alice")) == (2 * USD, 0)


async def test_a_card_is_kept_when_that_is_wanted(shop: Shop) -> None:
    await shop.buy(500, "buy-1")
    assert await shop.ledger.find_record(records.CUSTOMER, "alice") is None

    await shop.buy(500, "buy-2", keep_card=True)
    card = await shop.ledger.find_record(records.CUSTOMER, "alice")
    assert card is not None
    paid = shop.stripe.object("payment_intent", shop.payments()[-1])
    assert (card.text("customer_id"), card.text("card_id")) == (paid["customer"], paid["payment_method"])

    await shop.buy(500, "buy-3", keep_card=True)
    now = await shop.ledger.find_record(records.CUSTOMER, "alice")
    assert now is not None
    assert (now.text("customer_id"), now.text("card_id")) != (card.text("customer_id"), card.text("card_id"))
    assert len(shop.stripe.all("customer")) == 1


async def test_a_strangers_card_is_not_kept(shop: Shop) -> None:
    """The payment names another customer than the one who is ours."""
    created = await shop.purchases.create("alice", "buy-1", 500, keep_card=True)
    payment_id = created.purchase.text("payment_id")
    shop.stripe.pay(payment_id)
    paid = await shop.gateway.payment(payment_id)
    assert paid is not None

    async def of_another(_: str) -> Payment:
        return replace(paid, customer_id="cus_other")

    await shop.with_gateway(payment=of_another).purchases.refresh(payment_id)
    card = await shop.ledger.find_record(records.CUSTOMER, "alice")
    assert card is not None
    assert card.text("card_id") == ""


# --- helpers --------------------------------------------------------------------------------------------------------


async def _journal(shop: Shop) -> list[Entry]:
    return await shop.ledger.journal(0, await shop.ledger.settled_sequence())
