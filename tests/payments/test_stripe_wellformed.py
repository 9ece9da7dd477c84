"""Every call that the gateway can make is accepted by Stripe's own OpenAPI, as the official mock checks it."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import cast

import pytest

from gollem.config import PaymentsConfig
from gollem.errors import PaymentRefused
from gollem.payments import stripe_params
from gollem.payments.gateway import PaymentGateway
from gollem.payments.stripe_gateway import StripeGateway
from gollem.payments.types import Agreement, PaymentOrder
from tests.fakes.clock import FakeClock
from tests.payments import openapi
from tests.servers.stripe_mock import stripe_mock

NOW_MS = 1_700_000_000_000
ORDER = PaymentOrder("buy-1", 2_500)
Call = Callable[[StripeGateway], Awaitable[object]]

# Named `method`, or `method: what is special`. They have an answer that is an object.
CALLS: dict[str, Call] = {
    "create_customer": lambda g: g.create_customer("alice", "k1"),
    "create_payment": lambda g: g.create_payment(ORDER, "k2"),
    "create_payment: card is kept": lambda g: g.create_payment(PaymentOrder("buy-2", 2_500, "cus_1"), "k3"),
    "create_payment: kept card": lambda g: g.create_payment(PaymentOrder("buy-3", 2_500, "cus_1", "pm_1"), "k4"),
    "payment": lambda g: g.payment("pi_1"),
    "cancel_payment": lambda g: g.cancel_payment("pi_1", "k5"),
    "payments_since": lambda g: g.payments_since(NOW_MS),
    "payments_since: next page": lambda g: g.payments_since(NOW_MS, "pi_1"),
    "create_refund": lambda g: g.create_refund("pi_1", "rf-1", 100, "k6"),
    "refund": lambda g: g.refund("re_1"),
    "dispute": lambda g: g.dispute("dp_1"),
    "create_account": lambda g: g.create_account("prov-1", "US", Agreement.FULL, "k7"),
    "create_account: recipient": lambda g: g.create_account("prov-2", "IN", Agreement.RECIPIENT, "k8"),
    "account": lambda g: g.account("acct_1"),
    "onboarding_url": lambda g: g.onboarding_url("acct_1", "https://localhost/"),
    "create_transfer": lambda g: g.create_transfer("po-1", "acct_1", 10_000, "k9"),
    "transfer": lambda g: g.transfer("tr_1"),
    "reverse_transfer": lambda g: g.reverse_transfer("tr_1", "k10"),
    "create_bank_payout": lambda g: g.create_bank_payout("acct_1", "po-1", 2, 10_000, "k11"),
    "bank_payouts_since": lambda g: g.bank_payouts_since("acct_1", NOW_MS),
    "bank_payouts_since: next page": lambda g: g.bank_payouts_since("acct_1", NOW_MS, "po_1"),
    "bank_payout": lambda g: g.bank_payout("acct_1", "po_1"),
    "funds": lambda g: g.funds(),
    "funds: connected": lambda g: g.funds("acct_1"),
    "movements_since": lambda g: g.movements_since(NOW_MS),
    "movements_since: next page": lambda g: g.movements_since(NOW_MS, "txn_1"),
    "events_since": lambda g: g.events_since(NOW_MS),
    "events_since: next page": lambda g: g.events_since(NOW_MS, "evt_1"),
}
# What the mock tells of is never ours: these find nothing.
SEARCHES: dict[str, Call] = {
    "find_payment": lambda g: g.find_payment("buy-1", NOW_MS),
    "find_refund": lambda g: g.find_refund("pi_1", "rf-1"),
    "find_account": lambda g: g.find_account("prov-1", NOW_MS),
    "find_bank_payout": lambda g: g.find_bank_payout("acct_1", "po-1", 2),
    "find_transfer": lambda g: g.find_transfer("po-1"),
    "bank_payouts_under_way": lambda g: g.bank_payouts_under_way("acct_1"),
}
LOCAL = {"livemode", "read_event", "close"}  # these ask nobody


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with stripe_mock() as started:
        yield started


@pytest.fixture
async def mocked(url: str) -> AsyncIterator[StripeGateway]:
    settings = PaymentsConfig(
        stripe_key="sk_test_123", stripe_url=url, webhook_secrets="whsec_1", connect_secrets="whsec_2"
    )
    opened = StripeGateway(settings, FakeClock(NOW_MS))
    yield opened
    await opened.close()


@pytest.mark.parametrize("name", CALLS)
async def test_stripe_accepts(mocked: StripeGateway, name: str) -> None:
    assert await CALLS[name](mocked) is not None


@pytest.mark.parametrize("name", SEARCHES)
async def test_stripe_accepts_a_search(mocked: StripeGateway, name: str) -> None:
    await SEARCHES[name](mocked)


def test_every_method_of_the_promise_is_tried() -> None:
    promised = {name for name, _ in inspect.getmembers(PaymentGateway) if not name.startswith("_")}
    tried = {name.partition(":")[0] for name in CALLS | SEARCHES}
    assert tried == promised - LOCAL


WRONG: dict[str, Call] = {
    "an amount that is no number": lambda g: g.create_refund("pi_1", "rf-1", cast(int, "many"), "k12"),
    "an amount with a fraction": lambda g: g.create_payment(PaymentOrder("buy-1", cast(int, 1.5)), "k13"),
    "an object for an id": lambda g: g.create_transfer("po-1", cast(str, {"id": "acct_1"}), 10_000, "k14"),
    "a search by an object": lambda g: g.find_refund(cast(str, {"colour": "red"}), "rf-1"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_wrong_is_refused(mocked: StripeGateway, what: str) -> None:
    """So that the checks above can fail."""
    with pytest.raises(PaymentRefused):
        await WRONG[what](mocked)


async def test_a_parameter_that_stripe_does_not_know_is_refused(
    mocked: StripeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = stripe_params.bank_payout
    monkeypatch.setattr(stripe_params, "bank_payout", lambda *about: known(*about) | {"colour": "red"})
    with pytest.raises(PaymentRefused):
        await CALLS["create_bank_payout"](mocked)


@pytest.mark.parametrize(
    ("kind", "field"),
    [("payment_intent", "latest_charge"), ("balance_transaction", "source"), ("transfer_reversal", "transfer")],
)
def test_what_is_fetched_along_can_be(kind: str, field: str) -> None:
    """The mock lets any expansion pass."""
    assert openapi.is_expandable(kind, field)
    assert not openapi.is_expandable(kind, "id")
