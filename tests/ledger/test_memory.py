"""The model keeps the contract."""

import pytest

from gollem.ledger import Ledger, open_ledger
from gollem.ledger.memory import MemoryLedger
from tests.contracts.ledger_contract import Freeze, LedgerContract


class TestMemoryLedger(LedgerContract):
    @pytest.fixture
    async def ledger(self) -> Ledger:
        return await open_ledger("memory:")

    @pytest.fixture
    def freeze(self, ledger: MemoryLedger) -> Freeze:
        async def freeze(user: str) -> None:
            ledger._accounts[f"U:{user}"].active = False

        return freeze
