"""The ledger on a real DynamoDB Local keeps the contract."""

from collections.abc import AsyncIterator

import pytest

from gollem.ledger import Ledger
from gollem.ledger.dynamodb.ledger import DynamoDBLedger, open_dynamodb
from gollem.ledger.types import Kind, SetUserActive, Transaction
from tests.contracts.ledger_contract import NOW_MS, Freeze, LedgerContract


@pytest.fixture
async def ledger(dynamodb_table: str) -> AsyncIterator[DynamoDBLedger]:
    opened = await open_dynamodb(dynamodb_table)
    yield opened
    await opened.close()


class TestDynamoDBLedger(LedgerContract):
    @pytest.fixture
    def freeze(self, ledger: Ledger) -> Freeze:
        async def freeze(user: str) -> None:
            await ledger.post(
                Transaction(f"freeze:{user}", Kind.USER_FROZEN, (), "f", NOW_MS, (), (SetUserActive(user, False),))
            )

        return freeze
