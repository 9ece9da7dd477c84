"""What one consumer can bring upon the payment provider is bounded."""

import asyncio

import pytest

from gollem.errors import OutcomeUnknown, PaymentsUnavailable, RateLimited
from gollem.ledger import records
from gollem.payments import stripe_gateway
from gollem.payments.open_purchases import MOST_OPEN
from gollem.payments.seen_payments import FRESH_MS, SeenPayments
from tests.payments.shop import DAY_MS, ON_EVERY_LEDGER, ON_ONE_LEDGER, Shop


async def _fill(shop: Shop) -> None:
    for number in range(MOST_OPEN):
        await shop.purchases.create("alice", f"buy-{number}", 500)


async def test_only_so_many_wait_to_be_paid(shop: Shop) -> None:
    await _fill(shop)
    with pytest.raises(RateLimited, match="20 purchases wait to be paid"):
        await shop.purchases.create("alice", "one-more", 500)
    assert len(shop.payments()) == MOST_OPEN
    await shop.purchases.create("alice", "buy-3", 500)  # a repeat is no more
    await shop.purchases.create("bob", "buy-0", 500)  # nor is somebody else's

    shop.stripe.pay((await shop.purchase("buy-7")).text("payment_id"))
    await shop.catch_up()
    await shop.purchases.create("alice", "one-more", 500)
    with pytest.raises(RateLimited):
        await shop.purchases.create("alice", "and-another", 500)


@ON_EVERY_LEDGER
async def test_abandoned_ones_make_room(shop: Shop) -> None:
    await _fill(shop)
    shop.clock.advance_ms(DAY_MS)
    assert await shop.purchases.sweep() == MOST_OPEN
    await shop.purchases.create("alice", "one-more", 500)


@ON_ONE_LEDGER
async def test_many_at_once_are_counted_one_by_one(shop: Shop) -> None:
    names = [f"buy-{number}" for number in range(MOST_OPEN + 10)]
    made = await asyncio.gather(*(shop.purchases.create("alice", name, 500) for name in names), return_exceptions=True)
    assert len([one for one in made if not isinstance(one, Exception)]) <= MOST_OPEN
    assert len(shop.payments()) <= MOST_OPEN


@ON_ONE_LEDGER
async def test_looking_often_asks_seldom(shop: Shop) -> None:
    await shop.purchases.create("alice", "buy-1", 500)
    asked = []

    async def payment(payment_id: str) -> object:
        asked.append(payment_id)
        return await shop.gateway.payment(payment_id)

    seeing = shop.with_gateway(payment=payment)
    for _ in range(50):
        assert (await seeing.purchases.find("alice", "buy-1")).state == "created"
    assert len(asked) == 1
    shop.stripe.pay(asked[0])
    shop.clock.advance_ms(FRESH_MS)
    assert (await seeing.purchases.find("alice", "buy-1")).state == "credited"
    assert len(asked) == 2


@ON_ONE_LEDGER
async def test_a_payment_provider_that_is_away_is_asked_seldom_too(shop: Shop) -> None:
    await shop.purchases.create("alice", "buy-1", 500)
    asked = []

    async def away(payment_id: str) -> object:
        asked.append(payment_id)
        raise PaymentsUnavailable("away")

    seeing = shop.with_gateway(payment=away)
    for _ in range(5):
        assert (await seeing.purchases.find("alice", "buy-1")).receipt_url == ""
    assert len(asked) == 1


@ON_ONE_LEDGER
async def test_only_so_many_are_remembered(shop: Shop) -> None:
    seen = SeenPayments(shop.gateway, shop.clock, max_seen=2)
    for name in ("pi_1", "pi_2", "pi_3"):
        await seen.see(name)
    assert list(seen._seen) == ["pi_2", "pi_3"]


@ON_ONE_LEDGER
async def test_what_others_buy_later_hides_no_payment(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too much to look through while it is new; a busy platform's later payments do not add to it."""
    monkeypatch.setattr(stripe_gateway, "PAGES_MAX", 1)
    make = shop.gateway.create_payment

    async def lost(order: object, key: str) -> object:
        await make(order, key)  # type: ignore[arg-type]
        raise OutcomeUnknown("no answer")

    with pytest.raises(OutcomeUnknown):
        await shop.with_gateway(create_payment=lost).purchases.create("victim", "buy-1", 500)
    shop.stripe.pay(shop.payments()[0])
    shop.clock.advance_ms(10 * DAY_MS)
    for number in range(6):
        for user in range(MOST_OPEN):
            await shop.purchases.create(f"user-{user}", f"buy-{number}", 100)
    assert len(shop.payments()) > 100
    await shop.purchases.sweep()
    assert (await shop.purchase("buy-1", "victim")).state == "CREDITED"


async def test_no_payment_is_made_for_a_purchase_that_is_too_old(shop: Shop) -> None:
    """It would not be looked for any more. No sweep came by for days."""

    async def away(*_args: object) -> object:
        raise PaymentsUnavailable("away")

    with pytest.raises(PaymentsUnavailable):
        await shop.with_gateway(create_payment=away).purchases.create("alice", "buy-1", 500)
    shop.clock.advance_ms(4 * DAY_MS)
    made = await shop.purchases.create("alice", "buy-1", 500)
    assert (made.purchase.state, made.client_secret, shop.payments()) == ("CANCELLED", "", [])
    assert await shop.ledger.records(records.PURCHASE, "CREATED") == []
