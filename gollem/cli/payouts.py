"""`gollem payouts`: what a provider has earned, and how it gets it."""

import click

from gollem.cli import output
from gollem.cli.connection import Server, call, new_id, server_options
from gollem_client import stubs

provider_option = click.option("--provider-id", default="", help="another than the key's own; for operators")


@click.group()
def payouts() -> None:
    """See what was earned, and have it paid out."""


@payouts.command()
@click.option("--country", required=True, metavar="XX", help="where you are, two letters such as US")
@click.option("--return-url", default="", help="where the browser comes back to")
@output.json_option
@server_options
def onboard(server: Server, country: str, return_url: str, as_json: bool) -> None:
    """Begin, or go on, to say who you are and where your bank is. Prints the page to do it on."""
    request = stubs.StartOnboardingRequest(country=country, return_url=return_url)
    answer = call(server, "PayoutService/StartOnboarding", request, stubs.StartOnboardingResponse)
    if as_json:
        output.print_json(answer)
        return
    click.echo("ready: this provider may sell and be paid" if answer.ready else f"go on at {answer.url}")


@payouts.command()
@provider_option
@output.json_option
@server_options
def earnings(server: Server, provider_id: str, as_json: bool) -> None:
    """Show what was earned: maturing, payable, on its way, paid."""
    request = stubs.GetEarningsRequest(provider_id=provider_id)
    answer = call(server, "PayoutService/GetEarnings", request, stubs.Earnings)
    if as_json:
        output.print_json(answer)
        return
    shown = output.table("", "credits", "USD", right=("credits", "USD"))
    for name, credits_, usd in (
        ("maturing", answer.maturing, answer.maturing_usd),
        ("payable", answer.payable, answer.payable_usd),
        ("on its way", answer.in_flight, answer.in_flight_usd),
        ("paid", answer.paid, answer.paid_usd),
    ):
        shown.add_row(name, credits_, usd)
    if output.atoms(answer.debt):
        shown.add_row("owed to the platform", answer.debt, output.usd(answer.debt))
    output.stdout().print(shown)


@payouts.command()
@click.option("--payout-id", help="made by you; the same again asks for nothing twice  [default: a new one]")
@output.json_option
@server_options
def request(server: Server, payout_id: str | None, as_json: bool) -> None:
    """Have all that is payable paid out now."""
    wanted = stubs.RequestPayoutRequest(payout_id=payout_id or new_id())
    answer = call(server, "PayoutService/RequestPayout", wanted, stubs.Payout)
    if as_json:
        output.print_json(answer)
        return
    click.echo(f"payout {answer.payout_id}: ${answer.amount_usd}, {answer.state}")
    click.echo(f"`gollem payouts show {answer.payout_id}` follows it")


@payouts.command("list")
@provider_option
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="payouts a page")
@click.option("--page", "page_token", default="", help="continue after the page that named this")
@output.json_option
@server_options
def list_(server: Server, provider_id: str, limit: int, page_token: str, as_json: bool) -> None:
    """List payouts, newest first."""
    wanted = stubs.ListPayoutsRequest(provider_id=provider_id, page_size=limit, page_token=page_token)
    answer = call(server, "PayoutService/ListPayouts", wanted, stubs.ListPayoutsResponse)
    if as_json:
        output.print_json(answer)
        return
    shown = output.table("when (UTC)", "payout", "USD", "state", right=("USD",), whole=("payout",))
    for one in answer.payouts:
        shown.add_row(output.when(one.created_at_ms), one.payout_id, one.amount_usd, one.state)
    output.stdout().print(shown)
    if answer.next_page_token:
        click.echo(f"more: --page {answer.next_page_token}")


@payouts.command()
@click.argument("payout_id")
@click.option("--day", default="", metavar="YYYYMMDD", help="with the orders of this day")
@click.option("--page", "page_token", default="", help="continue after the page that named this")
@output.json_option
@server_options
def show(server: Server, payout_id: str, day: str, page_token: str, as_json: bool) -> None:
    """Follow a payout from match to bank: what it pays for, and every step of it."""
    wanted = stubs.GetPayoutRequest(payout_id=payout_id, day=day, page_token=page_token)
    trail = call(server, "PayoutService/GetPayout", wanted, stubs.PayoutTrail)
    if as_json:
        output.print_json(trail)
        return
    screen = output.stdout()
    click.echo(
        f"payout {trail.payout.payout_id} of {trail.payout.provider_id}: "
        f"${trail.payout.amount_usd}, {trail.payout.state}\n"
    )
    days = output.table("earned on", "orders", "credits", "USD", right=("orders", "credits", "USD"))
    for one in trail.days:
        days.add_row(one.day, "many" if one.orders is None else f"{one.orders:,}", one.payable, output.usd(one.payable))
    days.add_row("left over, or taken since", "", trail.other, output.usd(trail.other))
    screen.print(days, "")
    steps = output.table("when (UTC)", "step", "at Stripe", "ledger key", whole=("at Stripe", "ledger key"))
    for step in trail.steps:
        steps.add_row(output.when(step.at_ms), step.kind, step.stripe_id, step.key)
    screen.print(steps)
    if trail.orders:
        orders = output.table("settled (UTC)", "order", "credits", right=("credits",))
        for order in trail.orders:
            orders.add_row(output.when(order.at_ms), order.order_id, order.earned)
        screen.print("", orders)
    if trail.next_page_token:
        click.echo(f"more: --page {trail.next_page_token}")


@payouts.command()
@click.argument("month", metavar="YYYYMM")
@provider_option
@click.option("--format", "form", type=click.Choice(["csv", "html"]), default="csv", show_default=True)
@server_options
def statement(server: Server, month: str, provider_id: str, form: str) -> None:
    """Print a month's statement: as comma-separated values, or as a page to print or to make a PDF of."""
    wanted = stubs.GetStatementRequest(provider_id=provider_id, month=month, format=form)
    answer = call(server, "PayoutService/GetStatement", wanted, stubs.GetStatementResponse)
    click.echo(answer.content, nl=False)
