"""R6 and R8: a cent between the balances is found, payouts halt and spending goes on; money that moves is no alarm."""

import asyncio
from typing import cast

import pytest

from gollem.errors import PaymentRefused, WrongState
from gollem.ledger import Record, records, rules
from gollem.payments.gateway import PaymentGateway
from gollem.payments.proofs import HELD
from gollem.payments.types import BankPayout, BankPayoutStatus, Funds
from tests.fakes.stripe import FakeStripe
from tests.payments.office import DAY_MS, MINUTE_MS, Office
from tests.payments.shop import CENT, ON_EVERY_LEDGER, USD

HOUR_MS = 60 * MINUTE_MS


def seeing(office: Office, **members: object) -> Office:
    """The same ledger and Stripe; this server's gateway has these members instead."""
    gateway = cast(PaymentGateway, office.shop.with_gateway(**members).gateway)
    return Office(office.ledger, gateway, office.clock, office.stripe)


async def at_bank(office: Office) -> str:
    """A payout of 150.00 USD lies at its bank. Returns the bank payout's id."""
    connected_id = await office.stage.ready(150 * USD)
    await office.stage.payouts.look()
    await office.stage.payouts.look()
    (bank_payout_id,) = office.stage.bank_payouts(connected_id)
    return bank_payout_id


async def require_break(office: Office, check: str) -> None:
    """One alert, payouts are halted, and people spend as before."""
    names = [name for name in await office.alerts() if f":{check}:" in name]
    assert len(names) == 1
    assert await office.breaker() == "HALTED"
    day = names[0].split(":")[0]
    result = await office.ledger.find_record(records.RECONCILIATION, f"{day}:{check}")
    assert result
    assert (result.state, result.number("findings")) == ("BROKEN", 1)
    if (await office.stage.payee()).text("open_payout") == "":
        await office.stage.payable(150 * USD)
        with pytest.raises(WrongState):
            await office.desk.pay_out("po-refused", "acme", USD)
    await office.shop.spend(USD, order_id="after-the-break")


@pytest.mark.parametrize("cents", [1, -1])
async def test_a_cent_too_many_in_our_books(office: Office, cents: int) -> None:
    await office.stage.onboard()
    await office.shop.buy()
    await office.plant("A:stripe", cents * CENT)
    office.clock.advance_ms(HOUR_MS)

    result = await office.books.prove_balance()

    assert result
    (finding,) = result.findings
    assert finding.startswith(f"the payment provider has 23.97 USD, A:stripe says 23.9{7 - cents} USD, 0.00 USD wait")
    await require_break(office, "R6")
    assert (await office.books.match_movements()).ok  # each movement is booked: it is the sum that is wrong
    await office.plant("A:stripe", -cents * CENT)
    office.clock.advance_ms(1)
    await office.require_agreement()


@ON_EVERY_LEDGER
async def test_a_cent_that_stripe_lost(office: Office) -> None:
    await office.stage.onboard()
    await office.shop.buy()

    async def a_cent_less(connected_id: str = "") -> Funds:
        funds = await office.gateway.funds(connected_id)
        return Funds(funds.available_cents, funds.pending_cents - 1)

    result = await seeing(office, funds=a_cent_less).books.prove_balance()

    assert result
    assert not result.ok
    await require_break(office, "R6")


async def test_an_entry_that_never_was_at_stripe(office: Office) -> None:
    """Credits for a payment that nobody has made."""
    await office.shop.buy()
    bought = (await office.shop.purchases.create("alice", "buy-2", 2_500)).purchase
    await office.desk.credit_purchase(bought.id, bought.text("payment_id"), 2_500, "usd")
    result = await office.books.prove_balance()
    assert result
    assert "A:stripe says 48.97 USD" in result.findings[0]
    assert await office.breaker() == "HALTED"


@pytest.mark.parametrize("cents", [1, -1])
async def test_a_cent_between_us_and_a_providers_account(office: Office, cents: int) -> None:
    await at_bank(office)
    await office.shop.buy()
    assert (await office.books.prove_connected()).ok
    await office.plant("A:conn:acme", cents * CENT)
    result = await office.books.prove_connected()
    assert result.findings[0].endswith(f"has {'' if cents > 0 else '-'}0.01 USD more than A:conn")
    assert await office.breaker() == "RUNNING"
    assert (await office.stage.payee()).state == "DISABLED"
    await office.shop.spend(USD, order_id="after-the-break")


# --- R8 is about one provider


async def two_providers(office: Office) -> str:
    """Both have 150.00 USD payable. Returns the account's id of acme, from which somebody has taken a dollar."""
    connected_id = await office.stage.ready(150 * USD)
    await office.stage.ready(150 * USD, "good")
    await office.stage.payouts.look()
    await office.gateway.create_transfer("po-stray", connected_id, 100, "by-hand")
    return connected_id


async def connected_alerts(office: Office) -> list[str]:
    return [name for name in await office.alerts() if "connected:" in name or ":R8:" in name]


@ON_EVERY_LEDGER
async def test_a_difference_stops_one_provider_and_is_told_once(office: Office) -> None:
    connected_id = await two_providers(office)
    for _ in range(3):
        assert len((await office.books.prove_connected()).findings) == 1
        await office.stage.onboarding.sweep()
        office.clock.advance_ms(DAY_MS)
    assert await connected_alerts(office) == [f"connected:acme:{connected_id}:{USD}"]
    assert await office.breaker() == "RUNNING"
    payee = await office.stage.payee()
    assert (payee.state, payee.text("blocked_by")) == ("DISABLED", HELD)

    for provider in ("acme", "good"):
        await office.stage.payable(150 * USD, provider)
    await office.stage.payouts.look()
    await office.stage.payouts.look()
    assert [await office.stage.count(provider) for provider in ("acme", "good")] == [1, 2]
    assert office.stage.bank_payouts(connected_id) == []


async def test_a_payout_that_has_not_left_is_payable_again_when_its_account_differs(office: Office) -> None:
    connected_id = await office.stage.onboard()
    await office.stage.payable(150 * USD)
    await office.stage.payouts.look()
    office.stripe.top_up(50_000)
    await office.gateway.create_transfer("po-stray", connected_id, 100, "by-hand")
    await office.books.prove_connected()
    await office.stage.payouts.look()
    assert (await office.stage.payout()).state == "CANCELLED"
    assert await office.stage.balances() == {"P": 150 * USD}


async def test_a_provider_is_paid_again_once_its_account_agrees(office: Office) -> None:
    connected_id = await two_providers(office)
    await office.books.prove_connected()
    stray = next(one for one in office.stripe.all("transfer") if one["transfer_group"] == "po-stray")
    office.stripe.reverse_by_hand(stray["id"])
    assert (await office.books.prove_connected()).ok
    assert (await office.stage.payee()).state == "ENABLED"
    await office.stage.payouts.look()
    assert len(office.stage.bank_payouts(connected_id)) == 1


@ON_EVERY_LEDGER
async def test_an_operator_may_accept_just_this_difference(office: Office) -> None:
    connected_id = await two_providers(office)
    await office.books.prove_connected()
    (alert_id,) = await connected_alerts(office)
    alert = await office.ledger.find_record(records.ALERT, alert_id)
    assert alert is not None
    closed = Record(alert.kind, alert.id, "CLOSED", alert.fields)
    await office.ledger.post(rules.noted(alert, closed, office.clock.now_ms()))
    assert (await office.books.prove_connected()).ok
    assert (await office.stage.payee()).state == "ENABLED"

    await office.gateway.create_transfer("po-stray-2", connected_id, 100, "by-hand-2")
    assert not (await office.books.prove_connected()).ok
    assert (await office.stage.payee()).state == "DISABLED"


async def test_an_account_that_is_gone_stops_nobody_else(office: Office) -> None:
    empty = await office.stage.onboard("empty")
    connected_id = await office.stage.ready(150 * USD)
    await office.stage.onboard("good")
    await office.stage.payouts.look()
    for account in (empty, connected_id):
        office.stripe.leave(account)
    for _ in range(2):
        (finding,) = (await office.books.prove_connected()).findings
        assert "cannot be read" in finding
    assert await connected_alerts(office) == [f"connected:acme:{connected_id}:unreadable"]
    assert await office.breaker() == "RUNNING"
    assert [(await office.stage.payee(name)).state for name in ("acme", "good")] == ["DISABLED", "ENABLED"]


async def test_a_platform_that_is_refused_blames_no_provider(office: Office) -> None:
    await office.stage.onboard()

    async def refused(*_: object) -> Funds:
        raise PaymentRefused("the key may not", "permission")

    assert not (await seeing(office, funds=refused, account=refused).books.prove_connected()).ok
    assert (await office.stage.payee()).state == "ENABLED"


async def test_money_that_left_a_providers_account_by_hand(office: Office) -> None:
    connected_id = await office.stage.ready(150 * USD)
    await office.stage.payouts.look()
    assert (await office.books.prove_connected()).ok
    paid = office.stripe.pay_out_by_hand(5_000, connected_id)
    assert (await office.books.prove_connected()).ok  # on its way
    office.stripe.bank_pays(paid)
    assert not (await office.books.prove_connected()).ok


async def test_what_a_bank_did_is_booked_before_anybody_is_alarmed(office: Office) -> None:
    bank_payout_id = await at_bank(office)

    office.stripe.bank_pays(bank_payout_id)
    assert (await office.books.prove_connected()).ok
    assert (await office.stage.payout()).state == "PAID"

    office.stripe.bank_fails(bank_payout_id)
    assert (await office.books.prove_connected()).ok
    assert (await office.stage.payout()).state == "FAILED"
    assert await office.breaker() == "RUNNING"


async def test_a_provider_whose_money_always_moves_is_left_for_the_next_time(office: Office) -> None:
    await at_bank(office)
    more = 0

    async def growing(_: str) -> list[BankPayout]:
        nonlocal more
        more += 1
        return [BankPayout("po_by_hand", "", 0, more, BankPayoutStatus.UNDER_WAY)]

    assert (await seeing(office, bank_payouts_under_way=growing).books.prove_connected()).ok


async def test_a_balance_that_never_stands_still_is_left_for_the_next_time(office: Office) -> None:
    async def moving(connected_id: str = "") -> Funds:
        office.stripe.take_fee(1)
        return await office.gateway.funds(connected_id)

    assert await seeing(office, funds=moving).books.prove_balance() is None
    assert await office.breaker() == "RUNNING"
    await office.match_later()
    await office.require_agreement()


@ON_EVERY_LEDGER
async def test_no_false_alarm_while_money_moves(office: Office, stripe: FakeStripe) -> None:
    """Purchases, refunds and payouts are under way while all checks come round."""
    providers = ["acme", "bolt"]
    for provider in providers:
        await office.stage.ready(150 * USD, provider)
    done = False

    async def buy(user: str) -> None:
        for number in range(3):
            created = await office.shop.purchases.create(user, f"buy-{number}", 2_500)
            stripe.pay(created.purchase.text("payment_id"))
            await asyncio.sleep(0)
            if number == 1:
                await office.shop.purchases.refresh(created.purchase.text("payment_id"))
                await office.shop.refunds.create(f"rf-{user}", created.purchase.id, 300)
        await office.shop.tell()

    async def pay_out() -> None:
        for _ in range(3):
            await office.stage.payouts.look()
            for provider in providers:
                account = (await office.stage.payee(provider)).text("connected_id")
                for bank_payout_id in office.stage.bank_payouts(account):
                    if stripe.object("payout", bank_payout_id, account)["status"] == "pending":
                        stripe.bank_pays(bank_payout_id)

    async def check() -> list[str]:
        findings = list[str]()
        while not done:
            findings += (await office.books.match_movements()).findings
            balance = await office.books.prove_balance()
            findings += balance.findings if balance else []
            findings += (await office.books.prove_connected()).findings
        return findings

    checks = asyncio.create_task(check())
    await asyncio.gather(buy("alice"), buy("bob"), pay_out())
    done = True
    assert await checks == []
    assert await office.breaker() == "RUNNING"

    while await office.shop.inbox.work():
        pass
    await office.match_later(DAY_MS)
    await office.require_agreement()
    assert (await office.books.prove_connected()).ok
    assert await office.shop.available("bob") == 72 * USD
