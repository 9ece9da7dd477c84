"""What a bookkeeper reads of a day."""

from dataclasses import replace

import pytest

from gollem.clock import day_begins_ms, utc_day
from gollem.errors import InvalidField
from gollem.payments import day_report
from gollem.payments.day_report import DayRow
from gollem.payments.types import Movement, Page
from tests.payments.office import DAY_MS, Office
from tests.payments.shop import CENT, ON_EVERY_LEDGER, USD
from tests.payments.test_books_movements import seeing


@ON_EVERY_LEDGER
async def test_a_day_beside_its_books(office: Office) -> None:
    office.clock.advance_ms(DAY_MS - office.clock.now_ms() % DAY_MS)
    office.stripe.top_up(10_000)
    office.clock.advance_ms(DAY_MS)
    day = utc_day(office.clock.now_ms())
    created = await office.shop.buy()
    await office.shop.buy(4_000, "buy-2")
    await office.shop.refunds.create("rf-1", created.purchase.id, 500)
    await office.match_later()
    office.stripe.move_oddly(-33)
    office.clock.advance_ms(DAY_MS)
    office.stripe.take_fee(200)

    report = await office.books.report(day)

    fees = 103 + 146
    assert (report.opening_cents, report.closing_cents) == (10_000, 10_000 + 6_500 - fees - 500 - 33)
    assert report.rows == [
        DayRow("charge", 2, 6_500, fees, (6_500 - fees) * CENT),
        DayRow("other", 1, -33, 0, 0),
        DayRow("refund", 1, -500, 0, -5 * USD),
    ]
    odd = office.txn("adjustment")
    assert report.findings == [f"{odd}: other, -0.33 USD: -0.33 USD moved, 0.00 USD are booked"]

    await office.match_later()
    assert (await office.books.report(day)).findings == [f"{odd}: other, -0.33 USD: unmatched"]
    await office.resolve(odd, "X:stripe_fee")
    assert (await office.books.report(day)).findings == [f"{odd}: other, -0.33 USD: unmatched, resolved by eve"]


async def test_a_report_only_reads(office: Office) -> None:
    created = await office.shop.purchases.create("alice", "buy-1", 2_500)
    office.stripe.pay(created.purchase.text("payment_id"))
    report = await office.books.report(utc_day(office.clock.now_ms()))
    assert not report.ok
    assert await office.atoms("A:stripe") == 0


async def test_a_day_of_too_many_movements_says_so(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_report, "MAX_PAGES", 1)
    office.stripe.take_fee(200)

    async def in_parts(since_ms: int, page: str = "") -> Page[Movement]:
        found = await office.gateway.movements_since(since_ms, page)
        return Page([replace(one, currency="eur") for one in found.items], "more")

    report = await seeing(office, movements_since=in_parts).books.report(utc_day(office.clock.now_ms()))
    assert (report.opening_cents, report.closing_cents) == (None, None)
    assert [finding.rpartition(": ")[2] for finding in report.findings] == [
        "not in USD, not in the books",
        "there are too many movements",
    ]


@pytest.mark.parametrize("day", ["", "2023-11-14", "20231332", "yesterday", "99991231"])
async def test_what_is_no_day_is_refused(office: Office, day: str) -> None:
    with pytest.raises(InvalidField):
        await office.books.report(day)


def test_a_day_begins_at_midnight_utc() -> None:
    assert day_begins_ms("20231114") == 1_699_920_000_000
    assert utc_day(1_699_920_000_000) == "20231114"
    assert utc_day(1_699_920_000_000 - 1) == "20231113"
