"""`gollem reconcile stripe`: a day of the payment provider's books beside ours."""

import sys
from datetime import UTC, datetime, timedelta

import click
from rich.text import Text

from gollem.cli import output
from gollem.cli.connection import Server, call, server_options
from gollem_client import stubs


@click.group("reconcile")
def reconcile_() -> None:
    """Compare the books with the outside; `gollem ledger reconcile` proves them by themselves."""


@reconcile_.command()
@click.option("--day", default="yesterday", show_default=True, metavar="YYYYMMDD", help="UTC; or: today, yesterday")
@output.json_option
@server_options
def stripe(server: Server, day: str, as_json: bool) -> None:
    """Show a day's movements at Stripe beside the ledger's, to the cent. Exit status 1 where they differ."""
    request = stubs.PaymentsReportRequest(day=_day(day))
    report = call(server, "AdminService/PaymentsReport", request, stubs.PaymentsReportResponse)
    if as_json:
        output.print_json(report)
    else:
        _show(report, request.day)
    sys.exit(0 if report.ok else 1)


def _show(report: stubs.PaymentsReportResponse, day: str) -> None:
    figures = ("count", "amount USD", "fees USD", "in the ledger USD")
    table = output.table("movement", *figures, title=f"Stripe and the ledger, {day} (UTC)", right=figures)
    for row in report.rows:
        table.add_row(row.kind, f"{row.count:,}", row.amount_usd, row.fees_usd, row.booked_usd)
    screen = output.stdout()
    screen.print(table)
    opening, closing = report.opening_usd or "unknown", report.closing_usd or "unknown"
    click.echo(f"\nUSD at Stripe as the day began: {opening}, at its end: {closing}")
    for finding in report.findings:
        screen.print(Text(finding), soft_wrap=True)
    verdict = "every movement is in the ledger, to the cent" if report.ok else f"{len(report.findings)} differ"
    click.echo(verdict)


def _day(text: str) -> str:
    """A day by its date, or by its word."""
    back = {"today": 0, "yesterday": 1}.get(text)
    return text if back is None else (datetime.now(UTC) - timedelta(days=back)).strftime("%Y%m%d")
