"""Statements: every movement once, page by page, also while others come; filtered; and they sum to what is owned."""

import asyncio
import itertools
from collections import Counter

import pytest

from gollem.errors import InvalidField, InvariantBroken
from gollem.ledger import Kind, Ledger, rules
from gollem.ledger.desk import Desk
from gollem.ledger.types import StatementFilter, StatementLine
from tests.contracts.samples import NOW_MS, USD, buy, earn, granting, hold_of, opening

_late = itertools.count()


async def some_orders(ledger: Ledger, count: int) -> None:
    """A grant a millisecond, every second followed by an order of the same moment that settles."""
    for number in range(count):
        at_ms = NOW_MS + number
        await ledger.post(rules.grant(f"g-{number}", "alice", 100, at_ms))
        if number % 2:
            hold = hold_of(f"order-{number}")
            await ledger.post(rules.hold(hold, "f", at_ms))
            await ledger.post(rules.settle(hold, 60, 1, at_ms))


async def pages(ledger: Ledger, only: StatementFilter, limit: int) -> list[StatementLine]:
    """All lines, while a grant arrives between any two pages."""
    lines: list[StatementLine] = []
    cursor = ""
    while page := await ledger.user_statement("alice", cursor, limit, only):
        assert len(page) <= limit
        lines += page
        cursor = page[-1].cursor
        await ledger.post(rules.grant(f"late-{next(_late)}", "alice", 1, NOW_MS))
    return lines


@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_pages_miss_and_repeat_nothing_while_lines_arrive(ledger: Ledger, limit: int) -> None:
    await some_orders(ledger, 8)
    before = await ledger.user_statement("alice", limit=500)
    assert await pages(ledger, StatementFilter(), limit) == before
    assert len(before) == 8 + 2 * 4


@pytest.mark.parametrize("limit", [7, 500])
async def test_lines_that_came_at_once_are_paged_and_filtered_as_any(ledger: Ledger, limit: int) -> None:
    """A store may keep together what it wrote together."""
    await ledger.post(granting(60 * 1_000))
    holds = [hold_of(f"order-{number}", amount_atoms=1_000) for number in range(60)]
    await asyncio.gather(*(ledger.post(opening(hold)) for hold in holds))
    await asyncio.gather(*(ledger.post(rules.settle(hold, 600, 1, NOW_MS + 5)) for hold in holds[:20]))
    whole = await ledger.user_statement("alice", limit=500)
    held = [line for line in whole if line.kind is Kind.HOLD]

    assert Counter(line.key for line in held) == Counter(f"hold:order-{number}" for number in range(60))
    assert len(whole) == 81
    assert len({line.cursor for line in whole}) == 81
    assert await pages(ledger, StatementFilter(), limit) == whole
    assert await pages(ledger, StatementFilter(frozenset({Kind.HOLD})), limit) == held
    earned = await ledger.provider_statement("acme", limit=500)
    assert [line.amount_atoms for line in earned] == [599] * 20
    rest = await ledger.provider_statement("acme", earned[6].cursor, 500)
    assert rest == earned[7:]


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_filters_by_kind_and_time(ledger: Ledger, limit: int) -> None:
    await some_orders(ledger, 8)
    whole = await ledger.user_statement("alice", limit=500)
    orders = frozenset({Kind.HOLD, Kind.SETTLE})
    filters = [
        StatementFilter(orders),
        StatementFilter(from_ms=NOW_MS + 3),
        StatementFilter(to_ms=NOW_MS + 3),
        StatementFilter(orders, NOW_MS + 2, NOW_MS + 6),
        StatementFilter(frozenset({Kind.CLAWBACK})),
    ]
    expected = [
        [line for line in whole if line.kind in orders],
        [line for line in whole if line.at_ms >= NOW_MS + 3],
        [line for line in whole if line.at_ms < NOW_MS + 3],
        [line for line in whole if line.kind in orders and NOW_MS + 2 <= line.at_ms < NOW_MS + 6],
        [],
    ]
    assert [len(lines) for lines in expected] == [8, 11, 5, 4, 0]
    for only, lines in zip(filters, expected, strict=True):
        found = await pages(ledger, only, limit)
        assert [line for line in found if not line.key.startswith("grant:late-")] == lines


async def test_provider_statement_is_filtered_and_paged_too(ledger: Ledger) -> None:
    for number in range(5):
        await earn(ledger, 10 + number, f"order-{number}", NOW_MS + number)
    first = await ledger.provider_statement("acme", limit=2, only=StatementFilter(to_ms=NOW_MS + 4))
    second = await ledger.provider_statement("acme", first[-1].cursor, 9, StatementFilter(to_ms=NOW_MS + 4))

    assert [line.amount_atoms for line in first + second] == [13, 12, 11, 10]
    assert await ledger.provider_statement("acme", only=StatementFilter(frozenset({Kind.HOLD}))) == []


async def test_statement_sums_to_what_is_owned(ledger: Ledger, desk: Desk) -> None:
    """Debt and its repayment among them, whatever else happened."""
    await ledger.post(granting(3 * USD))
    await ledger.post(opening(hold_of(amount_atoms=USD)))
    await desk.withdraw_dispute("dp-1", "txn-1", "alice", 5 * USD, USD)
    await buy(ledger, desk, 200)
    lines = await ledger.user_statement("alice", limit=500)

    owned_atoms = (await ledger.balance("alice")).available_atoms + await ledger.account_atoms("D:alice")
    assert sum(line.amount_atoms for line in lines) == owned_atoms == -USD


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 40, "\u0661"])
async def test_cursor_that_no_page_gave_is_refused(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(InvalidField):
        await ledger.user_statement("alice", cursor)


async def test_records_come_by_id_and_in_pages(ledger: Ledger) -> None:
    for purchase_id in ("b", "d", "a", "c"):
        await ledger.post(rules.purchase_created(purchase_id, "alice", 100, NOW_MS))
    assert [record.id for record in await ledger.records("purchase", "CREATED")] == ["a", "b", "c", "d"]
    assert [record.id for record in await ledger.records("purchase", "CREATED", after="b", limit=1)] == ["c"]
    assert await ledger.records("refund", "INITIATED") == []


async def test_states_that_wait_for_nothing_are_not_listed(ledger: Ledger) -> None:
    with pytest.raises(InvariantBroken):
        await ledger.records("purchase", "CREDITED")
