"""`gollem trades`: what was matched lately, and what bids were refused for."""

import click

from gollem.cli import output
from gollem.cli.connection import Server, call, server_options
from gollem_client import stubs


@click.command()
@click.option("--model", default="", help="a model or an alias of one  [default: all]")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="trades at most")
@output.json_option
@server_options
def trades(server: Server, model: str, limit: int, as_json: bool) -> None:
    """Show the last trades of the server that answers, newest first, and the refusals of the last hour by limit."""
    wanted = stubs.ListTradesRequest(model=model, limit=limit)
    answer = call(server, "MarketService/ListTrades", wanted, stubs.ListTradesResponse)
    if as_json:
        output.print_json(answer)
        return
    refused = call(server, "MarketService/GetRefusals", stubs.GetRefusalsRequest(model=model), stubs.Refusals)
    shown = output.table(
        "when (UTC)", "model", "provider", "USD/M", "tokens", "held", right=("USD/M", "tokens", "held")
    )
    for trade in answer.trades:
        tokens = trade.prompt_tokens + trade.max_tokens
        prices = f"{trade.prompt_usd_per_mtok} {trade.completion_usd_per_mtok}"
        shown.add_row(output.when(trade.at_ms), trade.model, trade.provider_id, prices, f"{tokens:,}", trade.held)
    output.stdout().print(shown)
    for one in refused.models:
        limits = ", ".join(f"{name} {bids}" for name, bids in sorted(one.limited_by.items()))
        matched = output.counted(one.matched, "bid")
        click.echo(f"{one.model}: {matched} matched, {one.refused} refused{f' ({limits})' if limits else ''}")
