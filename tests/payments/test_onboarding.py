"""Who may be paid: countries, one account for ever, and what the payment provider says of it."""

import asyncio

import pytest

from gollem.errors import InvalidField, NotOnboarded, OutcomeUnknown, PaymentRefused, PaymentsUnavailable, WrongState
from gollem.payments.countries import agreement_of
from gollem.payments.payees import GONE, note_gone
from gollem.payments.types import Agreement
from tests.fakes.stripe import Fault
from tests.payments.shop import ON_EVERY_LEDGER
from tests.payments.stage import HOUR_MS, USD, Stage

BACK = "https://acme.example/back"
CREATE = "POST /v1/accounts"


def accounts(stage: Stage) -> list[str]:
    return [str(one["id"]) for one in stage.stripe.all("account")]


async def test_provider_sells_only_once_it_can_be_paid(stage: Stage) -> None:
    with pytest.raises(NotOnboarded) as not_begun:
        await stage.onboarding.require_payable("acme")
    url = await stage.onboarding.start("acme", "US", BACK)
    with pytest.raises(NotOnboarded) as not_complete:
        await stage.onboarding.require_payable("acme")
    (connected_id,) = accounts(stage)
    stage.stripe.verify_account(connected_id)
    assert await stage.onboarding.refresh(connected_id)
    assert not await stage.onboarding.refresh(connected_id)
    await stage.onboarding.require_payable("acme")

    assert connected_id in url
    assert not_begun.value.figures == {"provider_id": "acme", "blocked_by": "onboarding has not begun"}
    assert not_complete.value.figures["blocked_by"].startswith("requirements.past_due")
    payee = await stage.payee()
    assert (payee.state, payee.text("country"), payee.text("agreement")) == ("ENABLED", "US", "full")


async def test_every_start_gives_a_link_to_the_same_account(stage: Stage) -> None:
    links = {await stage.onboarding.start("acme", "US", BACK) for _ in range(3)}
    links |= set(await asyncio.gather(*(stage.onboarding.start("zeta", "US", BACK) for _ in range(8))))

    assert len(accounts(stage)) == 2
    assert all(any(account in link for account in accounts(stage)) for link in links)


@pytest.mark.parametrize("country", ["KP", "us", "", "USA", "U\n"])
async def test_country_that_cannot_be_paid(stage: Stage, country: str) -> None:
    with pytest.raises(InvalidField) as refused:
        await stage.onboarding.start("acme", country, BACK)
    assert refused.value.figures["field"] == "country"
    assert "US" in refused.value.figures["rule"]
    assert accounts(stage) == []


def test_agreements_by_country() -> None:
    assert [agreement_of(country) for country in ("US", "DE", "CH")] == [Agreement.FULL] * 3
    assert [agreement_of(country) for country in ("IN", "NG", "JP")] == [Agreement.RECIPIENT] * 3


async def test_account_does_not_move_to_another_country(stage: Stage) -> None:
    await stage.onboarding.start("acme", "US", BACK)
    with pytest.raises(InvalidField) as refused:
        await stage.onboarding.start("acme", "IN", BACK)
    assert refused.value.figures["field"] == "country"
    assert "US" in refused.value.figures["rule"]
    assert len(accounts(stage)) == 1


@ON_EVERY_LEDGER
async def test_two_countries_at_once_make_one_account(stage: Stage) -> None:
    started = [stage.onboarding.start("acme", country, BACK) for country in ("US", "IN")]
    links = await asyncio.gather(*started, return_exceptions=True)
    assert sorted(type(link).__name__ for link in links) == ["InvalidField", "str"]
    assert len(accounts(stage)) == 1


async def test_refused_country_may_be_another_one_later(stage: Stage) -> None:
    """The table knows Chile; this platform's Stripe does not open accounts there."""
    with pytest.raises(PaymentRefused):
        await stage.onboarding.start("acme", "CL", BACK)
    await stage.onboarding.start("acme", "IN", BACK)
    assert (await stage.payee()).text("agreement") == "recipient"
    assert len(accounts(stage)) == 1


@pytest.mark.parametrize("fault", [Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.ERROR_BEFORE, Fault.ERROR_AFTER])
async def test_account_is_made_once_whatever_becomes_of_the_call(stage: Stage, fault: Fault) -> None:
    stage.stripe.faults.next(CREATE, fault)
    with pytest.raises(OutcomeUnknown):
        await stage.onboarding.start("acme", "US", BACK)
    stage.clock.advance_ms(61_000)
    await stage.onboarding.start("acme", "US", BACK)
    assert len(accounts(stage)) == 1
    assert (await stage.payee()).text("connected_id") == accounts(stage)[0]


async def test_busy_payment_provider_is_asked_again(stage: Stage) -> None:
    stage.stripe.faults.next(CREATE, Fault.RATE_LIMITED)
    with pytest.raises(PaymentsUnavailable):
        await stage.onboarding.start("acme", "US", BACK)
    await stage.onboarding.start("acme", "US", BACK)
    assert len(accounts(stage)) == 1


@pytest.mark.parametrize(
    "url", ["http://acme.example/", "javascript:alert(1)", "https://", "https://a b", "https://" + "a" * 3000]
)
async def test_return_url_is_a_safe_address(stage: Stage, url: str) -> None:
    with pytest.raises(InvalidField) as refused:
        await stage.onboarding.start("acme", "US", url)
    assert refused.value.figures["field"] == "return_url"
    assert await stage.onboarding.start("acme", "US", "http://localhost:8080/back")


@ON_EVERY_LEDGER
async def test_sweep_finds_what_no_event_told(stage: Stage) -> None:
    for provider in ("acme", "zeta"):
        await stage.onboarding.start(provider, "US", BACK)
    for account in accounts(stage):
        stage.stripe.verify_account(account)
    assert await stage.onboarding.sweep() == 2
    await stage.onboarding.require_payable("zeta")

    stage.stripe.verify_account(accounts(stage)[0], can_be_paid=False)
    assert await stage.onboarding.sweep() == 0  # those that can be paid are asked about seldom
    stage.clock.advance_ms(7 * 3_600_000)
    assert await stage.onboarding.sweep() == 1
    with pytest.raises(NotOnboarded):
        await stage.onboarding.require_payable("acme")


async def test_sweep_goes_on_past_an_account_that_cannot_be_read(stage: Stage) -> None:
    for provider in ("acme", "zeta"):
        await stage.onboarding.start(provider, "US", BACK)
    for account in accounts(stage):
        stage.stripe.verify_account(account)
    stage.stripe.faults.next("GET /v1/accounts/{id}", Fault.ERROR_BEFORE)
    assert [await stage.onboarding.sweep(), await stage.onboarding.sweep()] == [1, 1]


async def test_account_that_nobody_has_changes_nobody(stage: Stage) -> None:
    """Its owner's metadata may name whomever it likes."""
    await stage.onboard("acme")
    other = await stage.gateway.create_account("acme", "US", Agreement.FULL, "by-hand")
    assert not await stage.onboarding.refresh(other.connected_id)
    assert not await stage.onboarding.refresh("acct_none")
    await stage.onboarding.require_payable("acme")


# --- accounts that go


async def test_account_that_is_gone_makes_no_payout_after_payout(stage: Stage) -> None:
    connected_id = await stage.ready(150 * USD)
    stage.stripe.leave(connected_id)
    for _ in range(4):
        await stage.payouts.look()
        stage.clock.advance_ms(HOUR_MS)
    assert await stage.count() == 1
    assert await stage.balances() == {"P": 150 * USD}
    payee = await stage.payee()
    assert (payee.state, payee.text("blocked_by")) == ("DISABLED", GONE)


async def test_sweep_finds_an_account_that_is_gone(stage: Stage) -> None:
    stage.stripe.leave(await stage.onboard())
    assert [await stage.onboarding.sweep(), await stage.onboarding.sweep()] == [1, 0]
    with pytest.raises(NotOnboarded):
        await stage.onboarding.require_payable("acme")


@pytest.mark.parametrize("country", ["US", "IN"])
async def test_another_account_takes_the_place_of_one_that_is_gone(stage: Stage, country: str) -> None:
    gone = await stage.ready(150 * USD)
    stage.stripe.leave(gone)
    await stage.onboarding.sweep()
    links = [stage.onboarding.start("acme", country, BACK) for _ in range(8)]
    made = {link for link in await asyncio.gather(*links, return_exceptions=True) if isinstance(link, str)}

    (connected_id,) = accounts(stage)
    assert connected_id != gone
    assert made
    assert all(connected_id in link for link in made)
    assert connected_id in await stage.onboarding.start("acme", country, BACK)
    payee = await stage.payee()
    assert (payee.text("connected_id"), payee.text("country"), payee.state) == (connected_id, country, "DISABLED")
    stage.stripe.verify_account(connected_id)
    await stage.onboarding.refresh(connected_id)
    await stage.payouts.look()
    assert [one["destination"] for one in stage.stripe.all("transfer")] == [connected_id]


async def test_another_account_may_be_lost_as_well(stage: Stage) -> None:
    for _ in range(3):
        connected_id = await stage.onboard()
        stage.stripe.leave(connected_id)
    await stage.onboard()
    assert len(accounts(stage)) == 1


@ON_EVERY_LEDGER
async def test_no_other_account_while_money_lies_at_the_one_that_is_gone(stage: Stage) -> None:
    connected_id = await stage.ready(150 * USD)
    await stage.payouts.look()
    stage.stripe.leave(connected_id)
    await stage.onboarding.sweep()
    with pytest.raises(WrongState):
        await stage.onboarding.start("acme", "US", BACK)
    assert accounts(stage) == []


async def test_account_that_was_gone_for_a_while_is_kept(stage: Stage) -> None:
    connected_id = await stage.onboard()
    payee = await stage.payee()
    assert await note_gone(stage.ledger, stage.clock, payee)
    assert connected_id in await stage.onboarding.start("acme", "US", BACK)
    assert (await stage.payee()).state == "ENABLED"
