"""`gollem balance` and `gollem transactions`: what an account has, and how it came to that."""

import csv
import sys
from datetime import UTC, datetime

import click

from gollem.cli import output
from gollem.cli.connection import Server, call, server_options
from gollem_client import stubs

_LIST = "CreditService/ListTransactions"
_PAGE, _CSV_PAGE = 20, 500
_TIME = click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"))

account_option = click.option("--account", default="", help="another account than the key's own; for operators")


@click.command()
@account_option
@output.json_option
@server_options
def balance(server: Server, account: str, as_json: bool) -> None:
    """Show an account's credits."""
    answer = call(server, "CreditService/Balance", stubs.BalanceRequest(account=account), stubs.BalanceResponse)
    if as_json:
        output.print_json(answer)
        return
    click.echo(f"account    {answer.account}{'' if answer.active else ' (frozen: it may not open new holds)'}")
    click.echo(f"available  {output.money(answer.available)}")
    click.echo(f"held       {output.money(answer.held)}")
    if output.atoms(answer.debt):
        click.echo(f"owed       {output.money(answer.debt)}: the next purchase repays it first")
    if output.atoms(answer.earned):
        click.echo(f"earned     {output.money(answer.earned)}")


@click.command()
@account_option
@click.option("--kind", "kinds", multiple=True, help="only these, such as purchase or settle; may be repeated")
@click.option("--since", type=_TIME, help="only from this UTC day or time, such as 2027-01-31")
@click.option("--until", type=_TIME, help="only before this UTC day or time")
@click.option("--limit", type=click.IntRange(1, 500), help="lines a page  [default: 20]")
@click.option("--page", "page_token", default="", help="continue after the page that named this")
@click.option(
    "--earnings/--spending", default=None, help="as a provider, or as a consumer  [default: as the key's role]"
)
@click.option("--csv", "as_csv", is_flag=True, help="every line as comma-separated values, or as many as --limit says")
@output.json_option
@server_options
def transactions(
    server: Server,
    account: str,
    kinds: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    page_token: str,
    earnings: bool | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show an account's statement, newest first."""
    if as_csv and as_json:
        raise click.UsageError("--csv or --json, not both")
    request = stubs.ListTransactionsRequest(
        account=account,
        page_size=limit or (_CSV_PAGE if as_csv else _PAGE),
        page_token=page_token,
        earnings=earnings,
        kinds=list(kinds),
        from_ms=_milliseconds(since),
        to_ms=_milliseconds(until),
    )
    if as_csv:
        _print_csv(server, request, whole=limit is None)
        return
    answer = call(server, _LIST, request, stubs.ListTransactionsResponse)
    if as_json:
        output.print_json(answer)
        return
    shown = output.table("when (UTC)", "what", "order", "credits", "USD", right=("credits", "USD"))
    for line in answer.transactions:
        shown.add_row(output.when(line.at_ms), line.kind, line.order_id, line.amount, output.usd(line.amount))
    output.stdout().print(shown)
    if answer.next_page_token:
        click.echo(f"more: --page {answer.next_page_token}")


def _print_csv(server: Server, request: stubs.ListTransactionsRequest, whole: bool) -> None:
    """One page, or all there are: as many calls as pages, one page in memory at a time."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("at_utc", "kind", "key", "order_id", "credits"))
    while True:
        answer = call(server, _LIST, request, stubs.ListTransactionsResponse)
        for line in answer.transactions:
            writer.writerow((output.when(line.at_ms), line.kind, line.key, line.order_id, line.amount))
        if not (whole and answer.next_page_token):
            return
        request.page_token = answer.next_page_token


def _milliseconds(moment: datetime | None) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp() * 1_000) if moment else 0
