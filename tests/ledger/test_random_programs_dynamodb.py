"""The same random programs on DynamoDB Local; only numbers and cursors, which are the store's own, are left out."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings

from gollem.ledger import Entry, Ledger, Posted, StatementLine
from gollem.ledger.types import Transaction
from tests.contracts.backends import BACKENDS
from tests.ledger.test_random_programs import Programs


class DynamoDBPrograms(Programs):
    async def opened(self) -> Ledger:
        return await BACKENDS["dynamodb"](self.path.parent)

    async def all_of(self, ledger: Ledger) -> list[object]:
        return [_comparable(answer) for answer in await super().all_of(ledger)]

    async def answers(self, transactions: list[Transaction]) -> list[object]:
        """One after the other: lanes that do not know of each other keep no order."""
        return [await self.answer(self.store, one) for one in transactions]

    async def answer(self, ledger: Ledger, transaction: Transaction) -> object:
        return _comparable(await super().answer(ledger, transaction))


def _comparable(answer: object) -> object:
    if isinstance(answer, list):
        return [_comparable(one) for one in answer]
    if isinstance(answer, Posted):
        return replace(answer, entry=replace(answer.entry, sequence=0))
    if isinstance(answer, Entry):
        return replace(answer, sequence=0)
    return replace(answer, cursor="") if isinstance(answer, StatementLine) else answer


@pytest.mark.usefixtures("dynamodb_endpoint")
class TestDynamoDBPrograms(DynamoDBPrograms.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(
        max_examples=6,
        stateful_step_count=15,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
