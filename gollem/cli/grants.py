"""`gollem credits`: buying them, and `grant`, with which an operator gives some."""

import click

from gollem.cli import output
from gollem.cli.connection import Server, call, new_id, server_options
from gollem.cli.purchases import alert, buy, receipt, top_up
from gollem_client import stubs


@click.group()
def credits_() -> None:
    """Buy credits, or give an account some."""


for command in (buy, receipt, top_up, alert):
    credits_.add_command(command)


@credits_.command()
@click.option("--account", required=True)
@click.option("--amount", required=True, help="credits, such as 1000 (1 USD)")
@click.option("--grant-id", help="made by you; the same again grants nothing twice  [default: a new one]")
@output.json_option
@server_options
def grant(server: Server, account: str, amount: str, grant_id: str | None, as_json: bool) -> None:
    """Grant credits. Needs the key of an operator."""
    request = stubs.GrantCreditsRequest(grant_id=grant_id or new_id(), account=account, amount=amount)
    answer = call(server, "AdminService/GrantCredits", request, stubs.GrantCreditsResponse)
    if as_json:
        output.print_json(answer)
        return
    done = "had been granted before" if answer.replayed else "granted"
    click.echo(f"{output.money(amount)} {done} to {account}, which now has {output.money(answer.available)}")
