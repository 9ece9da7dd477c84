"""Statements: they add up, hold every movement once, and can be neither formulas nor markup."""

import csv
from html.parser import HTMLParser

import pytest

from gollem.errors import InvalidField, LedgerUnavailable
from gollem.ledger import Kind, Ledger, rules
from gollem.payments import statement as statement_room
from gollem.payments.statement import DayEarned, Moved, Statement, Statements
from gollem.payments.statement_text import as_csv, as_html
from tests.payments.shop import ON_EVERY_LEDGER
from tests.payments.stage import DAY_MS, USD, Stage

NOVEMBER, DECEMBER = "202311", "202312"


def statements(stage: Stage) -> Statements:
    return Statements(stage.ledger, stage.clock)


async def two_months(stage: Stage) -> str:
    """November: two days of earnings; December: one, a payout and a clawback. Returns the payout's id."""
    await stage.onboard()
    await stage.earn(60 * USD, order_id="a-1", fee_atoms=3 * USD)
    await stage.earn(50 * USD, order_id="a-2", fee_atoms=2 * USD)
    stage.clock.advance_ms(16 * DAY_MS)  # 30 November
    await stage.earn(20 * USD, order_id="b-1")
    stage.clock.advance_ms(2 * DAY_MS)  # 2 December
    await stage.payouts.look()
    await stage.earn(5 * USD, order_id="c-1", fee_atoms=7)
    await stage.desk.claw_back("case-1", "acme", 1 * USD)
    stage.clock.advance_ms(40 * DAY_MS)  # January
    await stage.earn(1 * USD, order_id="d-1")
    return (await stage.payout()).id


@ON_EVERY_LEDGER
async def test_months_add_up_and_follow_each_other(stage: Stage) -> None:
    payout_id = await two_months(stage)
    november, december = [await statements(stage).read("acme", month) for month in (NOVEMBER, DECEMBER)]

    assert (november.opening_atoms, november.closing_atoms) == (0, 130 * USD)
    assert [(day.day, day.orders, day.net_atoms, day.fee_atoms) for day in november.days] == [
        ("20231114", 2, 110 * USD, 5 * USD),
        ("20231130", 1, 20 * USD, 0),
    ]
    assert november.days[0].gross_atoms == 115 * USD
    assert november.moved == []
    assert (december.opening_atoms, december.closing_atoms) == (130 * USD, 24 * USD)
    assert [(day.day, day.orders, day.net_atoms, day.matured_atoms) for day in december.days] == [
        ("20231202", 1, 5 * USD, 110 * USD)
    ]
    assert [(moved.kind, moved.reference, moved.atoms) for moved in december.moved] == [
        (Kind.PAYOUT_INITIATED, payout_id, -110 * USD),
        (Kind.CLAWBACK, "case-1", -1 * USD),
    ]


async def test_this_month_so_far_and_months_with_nothing(stage: Stage) -> None:
    await two_months(stage)
    now = await statements(stage).read("acme", "202401")
    assert (now.opening_atoms, now.closing_atoms) == (24 * USD, 25 * USD)
    before = await statements(stage).read("acme", "202310")
    assert (before.opening_atoms, before.closing_atoms, before.days) == (0, 0, [])
    assert (await statements(stage).read("nobody", NOVEMBER)).closing_atoms == 0
    for month in ("202402", "2023", "202313", "", "abcdef", "999912", "2023-1"):
        with pytest.raises(InvalidField):
            await statements(stage).read("acme", month)


async def test_fees_are_left_out_where_they_are_too_many(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await two_months(stage)
    monkeypatch.setattr(statement_room, "MAX_FEES", 2)
    november = await statements(stage).read("acme", NOVEMBER)
    assert [(day.orders, day.gross_atoms) for day in november.days] == [(2, None), (1, None)]
    december = await statements(stage).read("acme", DECEMBER)
    assert [day.gross_atoms for day in december.days] == [5 * USD + 7]


@ON_EVERY_LEDGER
async def test_pages_of_one_line_say_the_same(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await two_months(stage)
    whole = await statements(stage).read("acme", DECEMBER)
    monkeypatch.setattr(statement_room, "_PAGE", 1)
    assert await statements(stage).read("acme", DECEMBER) == whole
    monkeypatch.setattr(statement_room, "MAX_LINES", 2)
    with pytest.raises(InvalidField):
        await statements(stage).read("acme", NOVEMBER)


class Busy:
    """A ledger in which an order of acme settles whenever its balance or its lines are read, so many times."""

    def __init__(self, stage: Stage, times: int) -> None:
        self._stage = stage
        self._left = times
        self._settled = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._stage.ledger, name)

    async def provider_balance(self, provider: str) -> object:
        await self._settle()
        return await self._stage.ledger.provider_balance(provider)

    async def provider_statement(self, provider: str, cursor: str = "", limit: int = 50) -> object:
        if limit > 1:
            self._left = max(self._left, 1)
            await self._settle()
        return await self._stage.ledger.provider_statement(provider, cursor, limit)

    async def _settle(self) -> None:
        self._left -= 1
        if self._left >= 0:
            self._settled += 1
            await self._stage.earn(USD, order_id=f"busy-{id(self)}-{self._settled}")


@ON_EVERY_LEDGER
async def test_orders_that_settle_meanwhile_change_no_balance(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_room, "_LOOKS", 6)
    await two_months(stage)
    before = await statements(stage).read("acme", DECEMBER)
    busy: Ledger = Busy(stage, 5)  # type: ignore[assignment]
    assert await Statements(busy, stage.clock).read("acme", DECEMBER) == before
    never_quiet: Ledger = Busy(stage, 1_000)  # type: ignore[assignment]
    with pytest.raises(LedgerUnavailable):
        await Statements(never_quiet, stage.clock).read("acme", DECEMBER)


async def test_csv_adds_up(stage: Stage) -> None:
    payout_id = await two_months(stage)
    rows = list(csv.DictReader(as_csv(await statements(stage).read("acme", DECEMBER)).splitlines()))
    assert [row["what"] for row in rows] == [
        "opening balance",
        "earned",
        "payout initiated",
        "clawback",
        "closing balance",
    ]
    assert [row["balance_usd"] for row in rows] == ["130.00", "135.00", "25.00", "24.00", "24.00"]
    assert rows[2]["reference"] == payout_id
    assert (rows[1]["gross_usd"], rows[1]["fee_usd"], rows[1]["amount_usd"]) == (
        "5.00000000007",
        "0.00000000007",
        "5.00",
    )
    assert (rows[1]["matured_usd"], rows[1]["date"]) == ("110.00", "2023-12-02")


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


HOSTILE = '=HYPERLINK("http://x")<script>alert(1)</script>'


def hostile() -> Statement:
    """Names that no ledger takes, in case one ever does."""
    moved = Moved(1_700_000_000_000, Kind.ADJUSTMENT, HOSTILE, -5)
    return Statement(f"<b>{HOSTILE}", NOVEMBER, 5, 1, [DayEarned("20231114", 1, 1)], [moved])


def test_html_runs_nothing_and_escapes_everything() -> None:
    parsed = Tags(as_html(hostile()))
    assert not parsed.tags & {"script", "b", "a", "img", "link", "iframe"}
    assert HOSTILE in parsed.texts
    assert "@media print" in as_html(hostile())


def test_cells_of_text_are_no_formulas() -> None:
    rows = list(csv.DictReader(as_csv(hostile()).splitlines()))
    assert rows[2]["reference"] == f"'{HOSTILE}"
    assert rows[2]["amount_usd"] == "-0.00000000005"


async def test_adjustment_is_shown_by_its_ticket(stage: Stage) -> None:
    await two_months(stage)
    proposed = rules.adjustment_proposed("t-1", "P:acme", 2 * USD, "goodwill", "ann", stage.clock.now_ms())
    await stage.ledger.post(proposed)
    await stage.desk.approve_adjustment("t-1", "bob")
    (moved,) = (await statements(stage).read("acme", "202401")).moved
    assert (moved.kind, moved.reference, moved.atoms) == (Kind.ADJUSTMENT, "t-1", 2 * USD)


@ON_EVERY_LEDGER
async def test_a_day_that_matured_in_parts_has_all_of_them(stage: Stage) -> None:
    """A server's clock ran back: more was booked on a day after it had become payable."""
    await stage.onboard()
    for atoms in (10 * USD, 7 * USD, 3 * USD):
        await stage.earn(atoms, order_id=f"of-{atoms}")
        stage.clock.jump_ms(8 * DAY_MS)
        await stage.desk.mature_due()
        stage.clock.jump_ms(-8 * DAY_MS)
    stage.clock.jump_ms(8 * DAY_MS)
    november = await statements(stage).read("acme", NOVEMBER)
    assert [day.matured_atoms for day in november.days if day.matured_atoms] == [20 * USD]
