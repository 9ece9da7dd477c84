"""Reconciliation on DynamoDB: what somebody with the table's credentials changes is named by the checks for it."""

from collections.abc import AsyncIterator

import pytest

from gollem.ledger import Check, Reconciler, records, rules
from gollem.ledger.dynamodb.ledger import DynamoDBLedger, open_dynamodb
from tests.contracts.samples import DAY_MS, NOW_MS, hold_of, opening
from tests.fakes.clock import FakeClock
from tests.ledger.test_dynamodb_audit import CREDIT, DEFECTS, LATER_MS

R1, R2, R3, R4, R9 = (Check(name) for name in ("R1", "R2", "R3", "R4", "R9"))
FIRES = {
    "stale balance": {R2, R3},
    "one atom": {R2, R3},
    "held is not the open holds": {R4},
    "missing entry": {R3, R9},
    "missing leg": {R1, R3, R9},
    "wrong shard": {R1, R3, R9},
    "flipped byte": {R1, R9},
    "hold shrunk": {R2, R3, R4},
    "hold gone": {R2, R3, R4},
    "closed hold with money in it": {R2, R3, R4},
}


@pytest.fixture
async def ledger(dynamodb_table: str) -> AsyncIterator[DynamoDBLedger]:
    """The books of the audit's tests, all of which can be sealed."""
    opened = await open_dynamodb(dynamodb_table, clock=FakeClock(NOW_MS))
    hold = hold_of("order-1", 2 * CREDIT)
    await opened.post(rules.grant("g", "alice", 10 * CREDIT, NOW_MS))
    await opened.post(opening(hold))
    await opened.post(rules.settle(hold, CREDIT, CREDIT // 20, NOW_MS, "sold"))
    await opened.post(opening(hold_of("order-2", CREDIT // 2, expires_at_ms=NOW_MS + 10 * DAY_MS)))
    yield opened
    await opened.close()


@pytest.mark.parametrize(("damage", "fires"), [(DEFECTS[name][0], fires) for name, fires in FIRES.items()], ids=FIRES)
async def test_defect_is_named_halts_payouts_and_is_not_corrected(
    ledger: DynamoDBLedger, dynamodb_table: str, damage: tuple[str, dict[str, object]], fires: set[Check]
) -> None:
    clock = FakeClock(NOW_MS + DAY_MS + LATER_MS)  # not at the time of day when an index may be hiding them
    later = await open_dynamodb(dynamodb_table, clock=clock)
    watch = Reconciler(later, clock)
    assert await watch.seal()
    operation, arguments = damage
    _, refused = await ledger.client.try_once(operation, TableName=ledger.client.table, **arguments)
    results = [await watch.run(), await watch.look()]
    breaker = await later.find_record(records.BREAKER, records.PAYOUTS)
    await later.close()

    assert refused == ""
    assert [{result.check for result in run if not result.ok} for run in results] == [fires] * 2
    assert breaker
    assert breaker.state == "HALTED"
