"""`gollem spend-limit`: how much an account may spend."""

import click

from gollem.cli import output
from gollem.cli.connection import Server, call, server_options
from gollem_client import stubs


@click.command()
@click.option("--day", "per_day", metavar="CREDITS", help="most that may be spent a day (UTC); none: no limit")
@click.option("--month", "per_month", metavar="CREDITS", help="most that may be spent a month (UTC); none: no limit")
@output.json_option
@server_options
def spend_limit(server: Server, per_day: str | None, per_month: str | None, as_json: bool) -> None:
    """Show the limits of the account, or set them: an order that could cost more is refused.

    Orders count from when the first limit was set; what was spent before it does not."""
    if per_day is None and per_month is None:
        now = call(server, "CreditService/GetSpendLimit", stubs.GetSpendLimitRequest(), stubs.SpendLimit)
    else:
        wanted = stubs.SetSpendLimitRequest(_chosen(per_day), _chosen(per_month))
        now = call(server, "CreditService/SetSpendLimit", wanted, stubs.SpendLimit)
    if as_json:
        output.print_json(now)
        return
    for period, used, limit in (
        ("today", now.used_today, now.per_day),
        ("this month", now.used_this_month, now.per_month),
    ):
        click.echo(f"{period:<10}  {f'{used} of {output.money(limit)}' if limit else 'no limit'}")


def _chosen(given: str | None) -> str | None:
    return "" if given == "none" else given
