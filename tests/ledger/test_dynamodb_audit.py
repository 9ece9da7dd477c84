"""The audit of a ledger on DynamoDB finds each kind of damage, names it, and says nothing wrong while all moves."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gollem.ledger import rules
from gollem.ledger.dynamodb import items
from gollem.ledger.dynamodb.items import Item
from gollem.ledger.dynamodb.ledger import DynamoDBLedger, open_dynamodb
from tests.contracts.samples import NOW_MS, hold_of, opening
from tests.fakes.dynamodb_faults import Faults, error

CREDIT = 10**8
ALICE = items.account_key("U:alice")
SEAL = "is not what was written: its seal does not match"


@pytest.fixture
async def ledger(dynamodb_table: str) -> AsyncIterator[DynamoDBLedger]:
    """10 credits granted, 2 held and settled, 0.5 held."""
    opened = await open_dynamodb(dynamodb_table)
    hold = hold_of("order-1", 2 * CREDIT)
    await opened.post(rules.grant("g", "alice", 10 * CREDIT, NOW_MS))
    await opened.post(opening(hold))
    await opened.post(rules.settle(hold, CREDIT, CREDIT // 20, NOW_MS, "sold"))
    await opened.post(opening(hold_of("order-2", CREDIT // 2)))
    yield opened
    await opened.close()


def setting(key: Item, expression: str, **values: Item) -> tuple[str, dict[str, object]]:
    body = {"Key": key, "UpdateExpression": expression}
    return "update_item", body | {"ExpressionAttributeValues": {f":{name}": value for name, value in values.items()}}


# name -> (what somebody with the table's credentials does, every finding)
DEFECTS = {
    "stale balance": (
        setting(ALICE, "ADD balance :x", x=items.number(CREDIT)),
        [
            "U:alice: balance 9.50000000, legs sum to 8.50000000, difference 1.00000000",
            "trial balance: all accounts sum to 1.00000000, not to 0",
        ],
    ),
    "one atom": (
        setting(ALICE, "ADD balance :x", x=items.number(1)),
        [
            "U:alice: balance 8.50000001, legs sum to 8.50000000, difference 0.00000001",
            "trial balance: all accounts sum to 0.00000001, not to 0",
        ],
    ),
    "held is not the open holds": (
        setting(ALICE, "ADD held :x", x=items.number(25)),
        ["U:alice: held 0.50000025, open holds sum to 0.50000000, difference 0.00000025"],
    ),
    "missing entry": (
        ("delete_item", {"Key": items.entry_key("grant:g")}),
        [
            "U:alice: balance 8.50000000, legs sum to -1.50000000, difference 10.00000000",
            "X:promo: balance -10.00000000, legs sum to 0.00000000, difference -10.00000000",
        ],
    ),
    "missing leg": (
        setting(items.entry_key("hold:order-1"), "REMOVE legs[1] SET damaged = :x", x=items.number(1)),
        [
            "hold:order-1: legs sum to -2.00000000, not to 0",
            f"hold:order-1: {SEAL}",
            "H:order-1: balance 0.00000000, legs sum to -2.00000000, difference 2.00000000",
        ],
    ),
    "wrong shard": (
        setting(items.entry_key("settle:order-1"), "SET legs[2].a = :x", x=items.text("R:fee:99")),
        [
            f"settle:order-1: {SEAL}",
            "R:fee:99: balance 0.00000000, legs sum to 0.05000000, difference -0.05000000",
            "R:fee:15: balance 0.05000000, legs sum to 0.00000000, difference 0.05000000",
        ],
    ),
    "flipped byte": (
        setting(items.entry_key("settle:order-1"), "SET detail = :x", x=items.text("Sold")),
        [f"settle:order-1: {SEAL}"],
    ),
    "hold shrunk": (
        setting(items.hold_key("order-2"), "SET remaining = :x", x=items.number(49_999_999)),
        [
            "H:order-2: balance 0.49999999, legs sum to 0.50000000, difference -0.00000001",
            "U:alice: held 0.50000000, open holds sum to 0.49999999, difference 0.00000001",
            "trial balance: all accounts sum to -0.00000001, not to 0",
        ],
    ),
    "hold gone": (
        ("delete_item", {"Key": items.hold_key("order-2")}),
        [
            "H:order-2: balance 0.00000000, legs sum to 0.50000000, difference -0.50000000",
            "U:alice: held 0.50000000, open holds sum to 0.00000000, difference 0.50000000",
            "trial balance: all accounts sum to -0.50000000, not to 0",
        ],
    ),
    "closed hold with money in it": (
        setting(items.hold_key("order-1"), "SET remaining = :x", x=items.number(5)),
        [
            "H:order-1: balance 0.00000005, legs sum to 0.00000000, difference 0.00000005",
            "H:order-1: SETTLED with 0.00000005 remaining",
            "trial balance: all accounts sum to 0.00000005, not to 0",
        ],
    ),
}


@pytest.mark.parametrize(("damage", "findings"), DEFECTS.values(), ids=DEFECTS.keys())
async def test_defect_is_found_and_measured(
    ledger: DynamoDBLedger, damage: tuple[str, dict[str, object]], findings: list[str]
) -> None:
    operation, arguments = damage
    _, refused = await ledger.client.try_once(operation, TableName=ledger.client.table, **arguments)
    report = await ledger.audit()

    assert refused == ""
    assert sorted(report.findings) == sorted(findings)


async def test_sound_books_have_no_findings(ledger: DynamoDBLedger) -> None:
    report = await ledger.audit()
    assert (report.transactions, report.accounts, report.findings) == (4, 6, [])


async def test_audit_of_a_moving_ledger_raises_no_false_alarm(ledger: DynamoDBLedger) -> None:
    stop = asyncio.Event()

    async def trade(caller: int) -> int:
        number = 0
        while not stop.is_set():
            hold = hold_of(f"order-{caller}-{number}", 10, provider=f"p{caller % 2}")
            await ledger.post(opening(hold))
            await ledger.post(rules.settle(hold, 10 - number % 4, 1, NOW_MS))
            number += 1
        return number

    traders = [asyncio.create_task(trade(caller)) for caller in range(8)]
    reports = []
    async with asyncio.timeout(30):
        while len(reports) < 6 or reports[-1].transactions < 100:
            reports.append(await ledger.audit())
    stop.set()
    traded = sum(await asyncio.gather(*traders))

    assert [report.findings for report in reports if not report.ok] == []
    assert (await ledger.audit()).transactions == 4 + 2 * traded


async def test_entry_that_comes_between_the_pages_is_no_finding(ledger: DynamoDBLedger) -> None:
    """The scan is over before the settlement, the account is read again after it."""
    faults = Faults(ledger.client)
    scanned = []

    async def settle() -> None:
        scanned.append(await ledger.post(rules.settle(hold_of("order-2", CREDIT // 2), 1, 0, NOW_MS)))

    faults.lose_reply(settle, operation="Scan")
    faults.answer(error("ThrottlingException"), operation="Scan")
    report = await ledger.audit()

    assert (len(scanned), report.findings) == (1, [])
