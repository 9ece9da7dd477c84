"""The ledger on every backend, proven after each test, beside a fake Stripe over real HTTP."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import stripe as vendor

from gollem.config import PaymentsConfig
from gollem.ledger import Desk, Ledger
from gollem.payments.attempts import Attempts
from gollem.payments.stripe_gateway import StripeGateway
from tests.contracts.backends import BACKENDS
from tests.fakes.clock import FakeClock
from tests.fakes.stripe import FakeStripe
from tests.payments.benches import BENCHES, CARD_BENCHES, Bench, config_of
from tests.payments.office import Office
from tests.payments.shop import Shop
from tests.payments.stage import Stage

DELAY_DAYS = 7
CAP_ATOMS = 10**14  # 1,000 USD a day


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=[name for name in BACKENDS if name != "dynamodb" or "EVERY_AWAIT" in os.environ])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    if request.param == "dynamodb":
        request.getfixturevalue("dynamodb_endpoint")
    opened = await BACKENDS[request.param](tmp_path)
    yield opened
    report = await opened.audit()
    await opened.close()
    assert report.findings == []


@pytest.fixture
def desk(ledger: Ledger, clock: FakeClock) -> Desk:
    return Desk(ledger, clock, delay_days=DELAY_DAYS, cap_atoms=CAP_ATOMS)


@pytest.fixture
def attempts(ledger: Ledger, clock: FakeClock) -> Attempts:
    return Attempts(ledger, clock)


@pytest.fixture
async def stripe(clock: FakeClock) -> AsyncIterator[FakeStripe]:
    fake = FakeStripe(clock)
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def client(stripe: FakeStripe) -> AsyncIterator[vendor.StripeClient]:
    """Stripe's own client, spoken with past the gateway."""
    http = vendor.AIOHTTPClient(timeout=5)
    yield vendor.StripeClient(stripe.secret_key, http_client=http, base_addresses={"api": stripe.url})
    await http.close_async()  # type: ignore[no-untyped-call]


@pytest.fixture
def config(stripe: FakeStripe) -> PaymentsConfig:
    return config_of(stripe, delay_days=DELAY_DAYS)


@pytest.fixture
async def gateway(config: PaymentsConfig, clock: FakeClock) -> AsyncIterator[StripeGateway]:
    opened = StripeGateway(config, clock)
    yield opened
    await opened.close()


@pytest.fixture
def shop(ledger: Ledger, gateway: StripeGateway, clock: FakeClock, stripe: FakeStripe) -> Shop:
    """All of money in, as a server has it."""
    return Shop(ledger, gateway, clock, stripe)


@pytest.fixture(params=list(BENCHES))
async def bench(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Bench]:
    opened = await BENCHES[request.param](clock)
    yield opened
    await opened.close()


@pytest.fixture(params=list(CARD_BENCHES))
async def card_bench(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Bench]:
    """One whose payers have cards."""
    opened = await CARD_BENCHES[request.param](clock)
    yield opened
    await opened.close()


@pytest.fixture
def stage(ledger: Ledger, clock: FakeClock, stripe: FakeStripe, gateway: StripeGateway) -> Stage:
    """All of money out, as a server has it."""
    return Stage(ledger, clock, stripe, gateway)


@pytest.fixture
def office(ledger: Ledger, gateway: StripeGateway, clock: FakeClock, stripe: FakeStripe) -> Office:
    """Money in, money out and the books, as a server has them."""
    return Office(ledger, gateway, clock, stripe)
