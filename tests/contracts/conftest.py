"""Runs every contract test on every backend, and proves the books after each."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gollem.ledger import Ledger
from gollem.ledger.desk import Desk
from tests.contracts.backends import BACKENDS
from tests.contracts.samples import CAP_ATOMS, DELAY_DAYS, NOW_MS
from tests.fakes.clock import FakeClock


@pytest.fixture(params=list(BACKENDS))
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    if request.param == "dynamodb":
        request.getfixturevalue("dynamodb_endpoint")
    opened = await BACKENDS[request.param](tmp_path)
    yield opened
    report = await opened.audit()
    await opened.close()
    assert report.findings == []


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MS)


@pytest.fixture
def desk(ledger: Ledger, clock: FakeClock) -> Desk:
    return Desk(ledger, clock, delay_days=DELAY_DAYS, cap_atoms=CAP_ATOMS)
