"""`gollem book`: depth by model, and the front drawn in the terminal."""

from collections.abc import AsyncIterator

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from gollem.cli import output
from gollem.cli.connection import Server, call, connect, run, server_options
from gollem.cli.scatter import Point, draw
from gollem_client import stubs

MAX_WIDTH = 120
DRAWN_AT_MOST = 3


@click.command()
@click.option("--model", default="", help="only this one")
@click.option("--watch", is_flag=True, help="follow it until Ctrl-C")
@output.json_option
@server_options
def book(server: Server, model: str, watch: bool, as_json: bool) -> None:
    """Show depth by model, and draw the front: price against latency, throughput as the size of the mark."""
    if watch:
        run(_follow(server, model, as_json))
    else:
        _show(server, model, as_json)


def _show(server: Server, model: str, as_json: bool) -> None:
    picture = call(server, "MarketService/GetOrderBook", stubs.GetOrderBookRequest(model=model), stubs.OrderBook)
    if as_json:
        output.print_json(picture)
    else:
        screen = output.stdout()
        screen.print(render(picture, screen.width))


async def _follow(server: Server, model: str, as_json: bool) -> None:
    async with connect(server) as client:
        pictures = client.watch_order_book(model)
        if as_json:
            async for picture in pictures:
                output.print_json(picture)
        else:
            await _animate(pictures)


async def _animate(pictures: AsyncIterator[stubs.OrderBook]) -> None:
    screen = output.stdout()
    with Live(console=screen, auto_refresh=False, screen=screen.is_terminal) as live:
        async for picture in pictures:
            live.update(render(picture, screen.width), refresh=True)


def render(picture: stubs.OrderBook, width: int) -> RenderableType:
    """The depth table, then the fronts of the models with most asks."""
    if not picture.models:
        return Text("No asks. A provider registers with: python -m provider_agent --help")
    deepest = sorted(picture.models, key=lambda one: -one.front_size)[:DRAWN_AT_MOST]
    return Group(_depth(picture), *(front(one, width) for one in deepest if one.front))


def front(one: stubs.ModelBook, width: int) -> RenderableType:
    """One model's front, at equal parts of prompt and completion."""
    points = [Point(o.provider_id, _price(o), o.latency_ms, o.throughput_tps) for o in one.front]
    title = Text(f"\n{one.model}: front of {one.front_size}", style="bold")
    return Group(title, *(Text(line, no_wrap=True) for line in draw(points, min(width, MAX_WIDTH))))


def _depth(picture: stubs.OrderBook) -> RenderableType:
    figures = ("live", "blocked", "bids", "front", "free tokens", "slots", "best $/credit")
    shown = output.table("model", *figures, right=figures)
    for one in picture.models:
        counts = (one.live_asks, one.blocked_asks, one.resting_bids, one.front_size, one.free_tokens, one.free_slots)
        shown.add_row(one.model, *(f"{count:,}" for count in counts), one.best_price or "-")
    return shown


def _price(offer: stubs.Offer) -> float:
    """For drawing only: USD per million tokens at equal parts of prompt and completion."""
    return (float(offer.prompt_usd_per_mtok or 0) + float(offer.completion_usd_per_mtok or 0)) / 2
