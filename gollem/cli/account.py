"""`gollem balance` and `gollem transactions`: what an account has, and how it came to that."""

from datetime import UTC, datetime

import click

from gollem.cli import output
from gollem.cli.connection import Server, call, server_options
from gollem_client import stubs

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
    if output.atoms(answer.earned):
        click.echo(f"earned     {output.money(answer.earned)}")


@click.command()
@account_option
@click.option("--limit", "page_size", type=click.IntRange(1, 500), default=20, show_default=True)
@click.option("--page", "page_token", default="", help="continue after the page that named this")
@output.json_option
@server_options
def transactions(server: Server, account: str, page_size: int, page_token: str, as_json: bool) -> None:
    """Show an account's statement, newest first."""
    request = stubs.ListTransactionsRequest(account=account, page_size=page_size, page_token=page_token)
    answer = call(server, "CreditService/ListTransactions", request, stubs.ListTransactionsResponse)
    if as_json:
        output.print_json(answer)
        return
    shown = output.table("when (UTC)", "what", "order", "credits", "USD", right=("credits", "USD"))
    for line in answer.transactions:
        when = datetime.fromtimestamp(line.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        shown.add_row(when, line.kind, line.order_id, line.amount, output.usd(line.amount))
    output.stdout().print(shown)
    if answer.next_page_token:
        click.echo(f"more: --page {answer.next_page_token}")
