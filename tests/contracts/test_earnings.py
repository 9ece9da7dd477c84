"""Earnings mature by day: each day once, whatever clocks and calendars do."""

import asyncio
from datetime import UTC, datetime

import pytest

from gollem.errors import InvariantBroken, StaleRead
from gollem.ledger import Ledger, rules
from gollem.ledger.desk import Desk
from gollem.ledger.types import Earnings, ProviderBalance
from tests.contracts.samples import DAY_MS, MIDNIGHT_MS, NOW_MS, earn, legs
from tests.fakes.clock import FakeClock


def at_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


async def test_all_shards_of_a_day_become_payable_together(ledger: Ledger, desk: Desk, clock: FakeClock) -> None:
    for number in range(12):
        await earn(ledger, 10, f"order-{number}")
    assert await ledger.provider_balance("acme") == ProviderBalance(120, 0, 0)
    clock.advance_ms(7 * DAY_MS)
    (due,) = await ledger.due_earnings("20270115")
    assert (due.provider, due.day, due.atoms, len(due.shards)) == ("acme", "20270115", 120, 4)

    assert await desk.mature_due() == 1
    assert await ledger.provider_balance("acme") == ProviderBalance(0, 120, 0)
    entry = await ledger.find_entry("mature:acme:20270115")
    assert entry is not None
    assert len(entry.legs) == 5
    assert await ledger.due_earnings("20270115") == []


async def test_nothing_matures_before_its_delay_is_over(ledger: Ledger, desk: Desk, clock: FakeClock) -> None:
    """Fault 61, across midnight: a day is due as a whole, when the seventh day after it begins."""
    await earn(ledger, 10, "late", MIDNIGHT_MS - 1)
    await earn(ledger, 5, "early", MIDNIGHT_MS)
    clock.jump_ms(MIDNIGHT_MS - 1 + 6 * DAY_MS - NOW_MS)
    assert await desk.mature_due() == 0
    clock.jump_ms(1)
    assert await desk.mature_due() == 1
    assert await ledger.provider_balance("acme") == ProviderBalance(5, 10, 0)
    clock.jump_ms(DAY_MS)
    assert await desk.mature_due() == 1
    assert await ledger.provider_balance("acme") == ProviderBalance(0, 15, 0)


async def test_days_are_matured_once_by_many_at_once(ledger: Ledger, desk: Desk, clock: FakeClock) -> None:
    """Fault 61: the job runs on several nodes, and again."""
    for day in range(5):
        await earn(ledger, 10, f"order-{day}", NOW_MS + day * DAY_MS)
    clock.advance_ms(30 * DAY_MS)
    matured = await asyncio.gather(*(desk.mature_due() for _ in range(6)))

    assert sum(matured) == 5
    assert await desk.mature_due() == 0
    assert await ledger.provider_balance("acme") == ProviderBalance(0, 50, 0)


@pytest.mark.parametrize(
    ("earned", "not_yet", "due"),
    [
        ("2028-02-29T23:59:59", "2028-03-06T23:59:59", "2028-03-07T00:00:00"),  # a leap day
        ("2027-02-28T12:00:00", "2027-03-06T23:59:59", "2027-03-07T00:00:00"),
        ("2027-03-28T00:30:00", "2027-04-03T23:59:59", "2027-04-04T00:00:00"),  # summer time begins in Europe
        ("2027-12-31T23:00:00", "2028-01-06T23:59:59", "2028-01-07T00:00:00"),
    ],
)
async def test_calendars_do_not_matter(
    ledger: Ledger, desk: Desk, clock: FakeClock, earned: str, not_yet: str, due: str
) -> None:
    """Fault 61: days are UTC's."""
    await earn(ledger, 10, at_ms=at_ms(earned))
    clock.jump_ms(at_ms(not_yet) - NOW_MS)
    assert await desk.mature_due() == 0
    clock.jump_ms(at_ms(due) - at_ms(not_yet))
    assert await desk.mature_due() == 1


async def test_earnings_of_a_day_that_has_matured_are_another_part(
    ledger: Ledger, desk: Desk, clock: FakeClock
) -> None:
    """Fault 61: a clock that runs back books on a day that was over."""
    await earn(ledger, 10)
    clock.advance_ms(7 * DAY_MS)
    await desk.mature_due()
    await earn(ledger, 3, "late", NOW_MS)
    assert await desk.mature_due() == 1

    assert await ledger.provider_balance("acme") == ProviderBalance(0, 13, 0)
    assert await ledger.find_entry("mature:acme:20270115:1") is not None


async def test_maturing_what_has_changed_is_refused(ledger: Ledger, clock: FakeClock) -> None:
    await earn(ledger, 10)
    (read,) = await ledger.due_earnings("20270115")
    await earn(ledger, 3, "another-of-this-shard-1")
    await earn(ledger, 3, "another-of-this-shard-2")
    await earn(ledger, 3, "another-of-this-shard-3")
    (account,) = read.shards
    assert await ledger.account_atoms(account) != 10
    with pytest.raises(StaleRead):
        await ledger.post(rules.mature(read, 0, 7, NOW_MS + 7 * DAY_MS))
    (now,) = await ledger.due_earnings("20270115")
    with pytest.raises(StaleRead):
        await ledger.post(rules.mature(now, 1, 7, NOW_MS + 7 * DAY_MS))


@pytest.mark.parametrize(("shards", "delay_days"), [({}, 7), ({"PM:acme:20270115:0": 5}, 8), ({}, 0)])
def test_what_is_not_due_is_not_built(shards: dict[str, int], delay_days: int) -> None:
    with pytest.raises(InvariantBroken):
        rules.mature(Earnings("acme", "20270115", shards), 0, delay_days, NOW_MS + 7 * DAY_MS)


async def test_due_earnings_come_by_day_and_whole(ledger: Ledger) -> None:
    for number in range(40):
        hold_day = NOW_MS + (number % 3) * DAY_MS
        await earn(ledger, 10 + number, f"order-{number}", hold_day)
    all_due = await ledger.due_earnings("20270116")

    assert [earned.day for earned in all_due] == ["20270115", "20270116"]
    assert await ledger.due_earnings("20270116", limit=1) == all_due[:1]
    assert all_due[0].atoms == sum(10 + number for number in range(0, 40, 3))
    assert await ledger.due_earnings("20270114") == []


async def test_maturing_is_no_movement_of_the_statement(ledger: Ledger, desk: Desk, clock: FakeClock) -> None:
    await earn(ledger, 10)
    clock.advance_ms(7 * DAY_MS)
    await desk.mature_due()
    await desk.claw_back("case-1", "acme", 14)

    lines = await ledger.provider_statement("acme")
    assert [(line.kind.value, line.amount_atoms) for line in lines] == [
        ("clawback", -4),
        ("clawback", -10),
        ("settle", 10),
    ]


async def test_legs_of_maturing_with_debt(ledger: Ledger, desk: Desk, clock: FakeClock) -> None:
    await desk.claw_back("case-1", "acme", 6)
    await earn(ledger, 10)
    clock.advance_ms(7 * DAY_MS)
    (due,) = await ledger.due_earnings("20270115")
    posted = await ledger.post(rules.mature(due, 6, 7, clock.now_ms()))
    assert {name: atoms for name, atoms in legs(posted).items() if atoms > 0} == {"DP:acme": 6, "P:acme": 4}
