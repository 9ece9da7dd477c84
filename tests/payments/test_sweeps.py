"""One object that breaks its sweep, with whatever error, keeps none of the others of its page waiting."""

from collections.abc import Awaitable, Callable

import pytest

from gollem.ledger import records
from tests.payments.shop import ON_ONE_LEDGER, USD, Shop, changed_gateway
from tests.payments.stage import Stage

pytestmark = ON_ONE_LEDGER


def broken_for(known: Callable[[str], Awaitable[object]], bad: str) -> Callable[[str], Awaitable[object]]:
    """`known`, which for one object answers with what nobody has thought of."""

    async def answers(name: str) -> object:
        if name == bad:
            raise KeyError("amount_received")
        return await known(name)

    return answers


async def test_purchases(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    for user in ("alice", "bob"):
        shop.stripe.pay((await shop.purchases.create(user, "buy-1", 500)).purchase.text("payment_id"))
    first, second = await shop.ledger.records(records.PURCHASE, "CREATED")
    answers = broken_for(shop.gateway.payment, first.text("payment_id"))
    assert await shop.with_gateway(payment=answers).purchases.sweep() == 1
    assert await shop.available(second.text("user")) == 5 * USD
    assert [line for line in caplog.messages if first.id in line and "KeyError" in line and "amount" not in line]


async def test_refunds(shop: Shop) -> None:
    for user in ("alice", "bob"):
        await shop.buy(500, user=user)
        await shop.desk.refund(f"of-{user}", (await shop.purchase("buy-1", user)).id, USD)
    create = shop.gateway.create_refund

    async def answers(payment_id: str, refund_id: str, cents: int, key: str) -> object:
        if refund_id == "of-alice":
            raise KeyError("status")
        return await create(payment_id, refund_id, cents, key)

    assert await shop.with_gateway(create_refund=answers).refunds.sweep() == 1


async def test_disputes(shop: Shop) -> None:
    for user in ("alice", "bob"):
        bought = await shop.buy(500, user=user)
        shop.stripe.dispute(bought.purchase.text("payment_id"))
    await shop.catch_up()
    first, _second = await shop.ledger.records(records.DISPUTE, "WITHDRAWN")
    answers = broken_for(shop.gateway.dispute, first.id)
    assert await shop.with_gateway(dispute=answers).disputes.sweep() == 1


async def test_top_ups(shop: Shop) -> None:
    for user in ("alice", "bob"):
        await shop.buy(500, user=user, keep_card=True)
        await shop.top_ups.configure(user, 6 * USD, 2_000, 10_000)
    balance = shop.ledger.balance
    assert await shop.with_ledger(balance=broken_for(balance, "alice")).top_ups.sweep() == 1
    assert await shop.available("bob") == 25 * USD


async def test_accounts_of_providers(stage: Stage) -> None:
    for provider in ("acme", "bolt"):
        await stage.onboarding.start(provider, "US", "https://acme.example/back")
    asked = []

    async def answers(connected_id: str) -> object:
        asked.append(connected_id)
        raise KeyError("requirements")

    broken = Stage(stage.ledger, stage.clock, stage.stripe, changed_gateway(stage.gateway, account=answers))
    assert await broken.onboarding.sweep() == 0
    assert len(asked) == 2
