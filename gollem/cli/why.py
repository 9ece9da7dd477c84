"""`gollem why`: why a provider's asks are not matched, and what would win."""

import click
from rich.console import Console

from gollem.cli import output
from gollem.cli.connection import Server, call, server_options
from gollem_client import stubs


@click.command()
@click.option("--ask", "ask_id", default="", help="one ask  [default: all of the provider's]")
@click.option("--provider", "provider_id", default="", help="another provider than the key's own; for operators")
@output.json_option
@server_options
def why(server: Server, ask_id: str, provider_id: str, as_json: bool) -> None:
    """Try the bids that came lately against a provider's asks as they are now."""
    request = stubs.WhyUnmatchedRequest(provider_id=provider_id, ask_id=ask_id)
    answer = call(server, "ProviderService/WhyUnmatched", request, stubs.WhyUnmatchedResponse)
    if as_json:
        output.print_json(answer)
        return
    if not answer.asks:
        click.echo("there is no such ask in the book")
    for chances in answer.asks:
        show(output.stdout(), chances)


def show(screen: Console, chances: stubs.AskChances) -> None:
    screen.print(f"{chances.ask_id} ({chances.model})", style="bold")
    if chances.blocked_by:
        screen.print(f"  not matched at all now: {', '.join(chances.blocked_by)}")
    lately, go = output.counted(chances.bids, "bid"), "goes" if chances.outbid == 1 else "go"
    screen.print(f"  it would win {chances.won} of {lately} lately; {chances.outbid} {go} to a better ask")
    for limit, bids in sorted(chances.excluded_by.items()):
        screen.print(f"  {bids} {'has' if bids == 1 else 'have'} a {limit} limit that it does not meet")
    for what, bids in _ways(chances):
        won = "the one bid" if bids == 1 else f"at least half of the {bids} bids"
        screen.print(f"  {what} it would win {won} that this alone can win")


def _ways(chances: stubs.AskChances) -> list[tuple[str, int]]:
    """What would win more, and of how many."""
    ways = []
    if chances.winning_price:
        usd = chances.winning_usd_per_mtok
        ways.append((f"at ${chances.winning_price} or less (${usd} per million tokens)", chances.won_by_price))
    if chances.winning_latency_ms is not None:
        ways.append((f"with a first token within {chances.winning_latency_ms:,.0f} ms", chances.won_by_latency))
    if chances.winning_throughput_tps is not None:
        ways.append((f"at {chances.winning_throughput_tps:,.0f} tokens/s or more", chances.won_by_throughput))
    return ways
