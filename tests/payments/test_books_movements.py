"""R5: whatever moves at Stripe has its entries in our books, once and to the cent, whoever forgot to book it."""

import asyncio
from dataclasses import replace
from typing import cast

import pytest
import stripe as vendor

from gollem.errors import PaymentsUnavailable
from gollem.ledger import Kind
from gollem.payments.gateway import PaymentGateway
from gollem.payments.types import Movement, Page, Payment
from tests.payments.office import DAY_MS, MINUTE_MS, Office
from tests.payments.shop import CENT, ON_EVERY_LEDGER, USD

FEE = 103 * CENT  # of 25.00 USD


def seeing(office: Office, **members: object) -> Office:
    """The same ledger and Stripe; this server's gateway has these members instead."""
    gateway = cast(PaymentGateway, office.shop.with_gateway(**members).gateway)
    return Office(office.ledger, gateway, office.clock, office.stripe)


async def pay_unheard(office: Office, cents: int = 2_500, purchase_id: str = "buy-1") -> str:
    """Somebody pays, and no event tells. Returns the payment's id."""
    created = await office.shop.purchases.create("alice", purchase_id, cents)
    payment_id = created.purchase.text("payment_id")
    office.stripe.pay(payment_id)
    office.stripe.webhooks.take()
    return payment_id


async def test_a_charge_is_its_credits_and_its_fee(office: Office) -> None:
    created = await office.shop.buy()
    payment_id, txn = created.purchase.text("payment_id"), office.txn("charge")

    result = await office.books.match_movements()

    assert (result.findings, result.transactions) == ([], 1)
    keys = [f"purchase:{payment_id}", f"stripe:{txn}"]
    assert await office.booked(*keys, f"stripe:{txn}.fee") == keys
    assert await office.atoms("X:stripe_fee") == -FEE
    await office.require_agreement()
    await office.match_later()
    assert await office.atoms("X:stripe_fee") == -FEE
    assert await office.kept() == {}


async def test_a_charge_that_nobody_told_of_is_credited(office: Office) -> None:
    await pay_unheard(office)

    await office.books.match_movements()

    assert await office.shop.available() == 25 * USD
    await office.require_agreement()
    assert await office.alerts() == []


@ON_EVERY_LEDGER
async def test_a_charge_of_a_stranger_waits_and_is_then_unmatched(office: Office, client: vendor.StripeClient) -> None:
    made = await client.v1.payment_intents.create_async({"amount": 2_500, "currency": "usd"})
    office.stripe.pay(made.id)
    txn = office.txn("charge")

    await office.books.match_movements()
    assert await office.atoms("A:stripe") == 0
    assert await office.kept() == {"WAITING": [txn]}
    result = await office.books.prove_balance()
    assert result
    assert result.ok  # what waits is no difference

    await office.match_later()
    assert await office.kind_of(f"stripe:{txn}") is Kind.UNMATCHED
    assert (await office.atoms("S:unmatched"), await office.atoms("X:stripe_fee")) == (25 * USD, -FEE)
    assert f"unmatched:{txn}" in await office.alerts()
    assert f"unresolved:{txn}" not in await office.alerts()
    await office.require_agreement()

    await office.match_later(DAY_MS + MINUTE_MS)
    assert f"unresolved:{txn}" in await office.alerts()
    await office.resolve(txn, "U:alice")
    await office.match_later()
    assert await office.kept() == {}
    assert await office.shop.available() == 25 * USD
    await office.require_agreement()


@ON_EVERY_LEDGER
async def test_what_was_unmatched_and_is_explained_late_is_booked_once(office: Office) -> None:
    payment_id = await pay_unheard(office)

    async def unknown(_: str) -> Payment | None:
        return None

    await seeing(office, payment=unknown).match_later()
    assert await office.atoms("S:unmatched") == 25 * USD
    await office.shop.purchases.refresh(payment_id)
    assert await office.atoms("A:stripe") == -50 * USD + FEE  # twice, until the books are looked at

    await office.match_later()

    assert await office.atoms("S:unmatched") == 0
    assert await office.shop.available() == 25 * USD
    assert await office.kept() == {}
    await office.require_agreement()


async def test_what_a_person_resolved_and_is_explained_late_is_a_break(office: Office) -> None:
    payment_id = await pay_unheard(office)

    async def unknown(_: str) -> Payment | None:
        return None

    await seeing(office, payment=unknown).match_later()
    txn = office.txn("charge")
    await office.resolve(txn, "U:alice")
    await office.shop.purchases.refresh(payment_id)

    result = await office.books.match_movements()

    assert [finding.partition(":")[0] for finding in result.findings] == [txn]
    assert "23.97 USD moved, 48.97 USD are booked" in result.findings[0]
    assert await office.breaker() == "HALTED"
    assert (await office.books.match_movements()).findings == result.findings  # as long as it is so
    await office.plant("A:stripe", 25 * USD)


@ON_EVERY_LEDGER
async def test_refunds_are_healed_failures_too(office: Office) -> None:
    created = await office.shop.buy()
    await office.shop.refunds.create("rf-1", created.purchase.id, 500)
    await office.match_later()
    refund = office.stripe.all("refund")[0]
    assert await office.kind_of(f"rf_ok:{refund['id']}") is Kind.REFUND_SUCCEEDED
    await office.require_agreement()

    office.stripe.fail_refund(refund["id"])
    office.stripe.webhooks.take()
    await office.match_later()

    assert await office.kind_of(f"rf_fail:{refund['id']}") is Kind.REFUND_FAILED
    assert await office.shop.available() == 25 * USD
    await office.require_agreement()


@pytest.mark.parametrize("comes_through", [True, False])
async def test_a_refund_is_waited_for_as_long_as_its_bank_takes(office: Office, comes_through: bool) -> None:
    created = await office.shop.buy()
    office.stripe.refunds.take_days = True
    await office.shop.refunds.create("rf-1", created.purchase.id, 500)
    txn, stripe_id = office.txn("refund"), office.stripe.all("refund")[0]["id"]

    await office.match_later(6 * DAY_MS)
    assert await office.kept() == {"WAITING": [txn]}
    result = await office.books.prove_balance()
    assert result
    assert result.ok
    (office.stripe.settle_refund if comes_through else office.stripe.fail_refund)(stripe_id)
    office.stripe.webhooks.take()
    await office.match_later()

    assert await office.kept() == {}
    assert await office.alerts() == []
    assert await office.shop.available() == (20 if comes_through else 25) * USD
    await office.require_agreement()


async def test_a_refund_by_hand_is_unmatched(office: Office) -> None:
    created = await office.shop.buy()
    office.stripe.refund_by_hand(created.purchase.text("payment_id"), 700)
    await office.match_later()
    assert await office.kept() == {"UNMATCHED": [office.txn("refund")]}
    assert await office.atoms("S:unmatched") == -7 * USD
    await office.require_agreement()


@ON_EVERY_LEDGER
async def test_disputes_are_healed(office: Office) -> None:
    created = await office.shop.buy()
    dispute_id = office.stripe.dispute(created.purchase.text("payment_id"), 2_000)
    office.stripe.webhooks.take()
    await office.match_later()
    assert await office.kind_of(f"stripe:{office.txn('adjustment')}") is Kind.DISPUTE_WITHDRAWN
    await office.require_agreement()

    office.stripe.win(dispute_id)
    office.stripe.webhooks.take()
    await office.match_later()

    assert await office.kind_of(f"stripe:{office.txn('adjustment')}") is Kind.DISPUTE_REINSTATED
    assert await office.atoms("X:dispute_fee") == -15 * USD
    assert await office.kept() == {}
    await office.require_agreement()


async def test_a_dispute_of_what_is_unmatched_is_too_for_ever(office: Office, client: vendor.StripeClient) -> None:
    made = await client.v1.payment_intents.create_async({"amount": 2_500, "currency": "usd"})
    office.stripe.pay(made.id)
    dispute_id = office.stripe.dispute(made.id, 2_500)
    txn = office.txn("adjustment")
    await office.match_later()
    assert await office.kind_of(f"stripe:{txn}") is Kind.UNMATCHED
    assert await office.kind_of(f"stripe:{txn}.fee") is Kind.STRIPE_FEE

    office.stripe.win(dispute_id)
    await office.shop.catch_up()
    await office.match_later()

    assert await office.atoms("S:unmatched") == 25 * USD
    await office.require_agreement()


@ON_EVERY_LEDGER
async def test_transfers_and_reversals_are_healed(office: Office) -> None:
    stage, stripe = office.stage, office.stripe
    connected_id = await stage.ready(150 * USD)
    await stage.payouts.look()
    transfer = stripe.all("transfer")[0]["id"]
    await office.match_later()
    await office.resolve(office.txn("topup"), "A:bank")
    assert await office.kind_of(f"po_tr:{transfer}") is Kind.PAYOUT_TRANSFERRED
    assert (await office.books.prove_connected()).ok

    reversal = stripe.reverse_by_hand(transfer)
    stripe.webhooks.take()
    await office.match_later()

    assert await office.kind_of(f"trr:{reversal}") is Kind.PAYOUT_REVERSED
    assert await office.atoms("P:acme") == 150 * USD
    assert stripe.available_cents(connected_id) == 0
    assert (await office.books.prove_connected()).ok
    await office.require_agreement()


async def test_a_transfer_that_was_not_booked_is_healed(office: Office) -> None:
    stage = office.stage
    connected_id = await stage.ready(150 * USD)
    await stage.desk.pay_out("po-1", "acme", USD)
    transfer = await office.gateway.create_transfer("po-1", connected_id, 15_000, "a-key")

    assert (await office.books.prove_connected()).ok  # heals, too
    await office.match_later()

    assert await office.kind_of(f"po_tr:{transfer.transfer_id}") is Kind.PAYOUT_TRANSFERRED
    await office.require_agreement()


async def test_a_part_that_is_reversed_is_a_persons(office: Office) -> None:
    stage, stripe = office.stage, office.stripe
    await stage.ready(150 * USD)
    await stage.payouts.look()
    stripe.reverse_by_hand(stripe.all("transfer")[0]["id"], 4_000)
    await office.match_later()
    assert office.txn("transfer_refund") in (await office.kept())["UNMATCHED"]
    assert "acct_" in (await office.books.prove_connected()).findings[0]
    await office.require_agreement()


async def test_the_platforms_own_money_and_what_nobody_knows(office: Office) -> None:
    stripe = office.stripe
    topped_up = stripe.top_up(10_000)
    fee = stripe.take_fee(200)
    odd = stripe.move_oddly(-33)
    paid_out = stripe.pay_out_by_hand(4_000)
    await office.match_later()
    assert await office.kept() == {"UNMATCHED": [topped_up, odd]}
    assert await office.kind_of(f"stripe:{fee}") is Kind.STRIPE_FEE
    assert await office.atoms("A:bank") == -40 * USD
    await office.require_agreement()

    stripe.bank_fails(paid_out)
    await office.match_later()

    assert await office.atoms("A:bank") == 0
    assert await office.atoms("S:unmatched") == 10_000 * CENT - 33 * CENT
    await office.require_agreement()


async def test_what_is_not_in_usd_is_told_and_not_booked(office: Office) -> None:
    odd = office.stripe.move_oddly(500)

    async def in_euros(since_ms: int, page: str = "") -> Page[Movement]:
        found = await office.gateway.movements_since(since_ms, page)
        return Page([replace(movement, currency="eur") for movement in found.items])

    await seeing(office, movements_since=in_euros).match_later()

    assert await office.alerts() == [f"foreign:{odd}"]
    assert await office.atoms("A:stripe") == 0


async def test_nothing_is_decided_while_stripe_is_away(office: Office) -> None:
    await pay_unheard(office)

    async def away(_: str) -> Payment | None:
        raise PaymentsUnavailable("away")

    office.clock.advance_ms(DAY_MS)
    with pytest.raises(PaymentsUnavailable):
        await seeing(office, payment=away).books.match_movements()
    assert await office.atoms("A:stripe") == 0

    await office.match_later()
    assert await office.shop.available() == 25 * USD


async def test_a_cent_between_the_books_is_a_break(office: Office) -> None:
    await office.shop.buy()
    txn = office.txn("charge")

    async def a_cent_more(since_ms: int, page: str = "") -> Page[Movement]:
        found = await office.gateway.movements_since(since_ms, page)
        return Page([replace(movement, cents=movement.cents + 1) for movement in found.items])

    result = await seeing(office, movements_since=a_cent_more).books.match_movements()

    assert result.findings == [
        f"{txn}: charge of {office.stripe.all('charge')[0]['id']}, 25.01 USD: 23.98 USD moved, 23.97 USD are booked"
    ]
    assert await office.breaker() == "HALTED"


@ON_EVERY_LEDGER
async def test_many_servers_book_each_movement_once(office: Office) -> None:
    for number in range(3):
        await pay_unheard(office, purchase_id=f"buy-{number}")
    office.stripe.take_fee(200)
    office.stripe.move_oddly(900)
    office.clock.advance_ms(10 * MINUTE_MS)
    servers = [seeing(office) for _ in range(6)]

    results = await asyncio.gather(*(server.books.match_movements() for server in servers))

    assert [result.findings for result in results] == [[]] * 6
    assert (await office.atoms("X:stripe_fee"), await office.atoms("S:unmatched")) == (-3 * FEE - 2 * USD, 9 * USD)
    assert await office.shop.available() == 75 * USD
    await office.require_agreement()


async def test_a_transfer_that_is_reversed_in_two_parts_stays_a_persons(office: Office) -> None:
    """The first part may have been resolved: to book the whole would book it twice."""
    stage, stripe = office.stage, office.stripe
    await stage.ready(150 * USD)
    await stage.payouts.look()
    await office.match_later()
    await office.resolve(office.txn("topup"), "A:bank")
    transfer = stripe.all("transfer")[0]["id"]
    for cents in (5_000, 10_000):
        stripe.reverse_by_hand(transfer, cents)
        await office.match_later()
        await stage.payouts.look()
        await office.resolve(office.txn("transfer_refund"), "P:acme")
    assert (await stage.payout()).state == "TRANSFERRED"
    assert await office.atoms("P:acme") == 150 * USD
    assert await office.atoms("S:unmatched") == 0
    await office.require_agreement()
