"""Runs every contract test on every backend, and proves the books after each."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gollem.ledger import Ledger
from tests.contracts.backends import BACKENDS


@pytest.fixture(params=list(BACKENDS))
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    if request.param == "dynamodb":
        request.getfixturevalue("dynamodb_endpoint")
    opened = await BACKENDS[request.param](tmp_path)
    yield opened
    report = await opened.audit()
    await opened.close()
    assert report.findings == []
