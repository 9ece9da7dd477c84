"""`gollem quote` and `gollem match`: a bid from options, the front for it, the provider that it gets."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import click
from rich.table import Table

from gollem.cli import output
from gollem.cli.connection import Server, connect, run, server_options
from gollem_client import stubs

F = TypeVar("F", bound=Callable[..., Any])
LIMITS = (
    "model", "max_price", "max_cost", "max_latency_ms", "min_throughput_tps", "gpu_types", "only", "exclude", "policy",
    "weights",
)  # fmt: skip
POLICIES = ("balanced", "price", "latency", "throughput")


def _weights(_: click.Context, __: click.Parameter, text: str | None) -> dict[str, int] | None:
    if text is None:
        return None
    try:
        price, latency, throughput = (int(part) for part in text.split(":"))
    except ValueError:
        raise click.BadParameter("must be three whole numbers, such as 2:1:1") from None
    return {"price": price, "latency": latency, "throughput": throughput}


def limit_options(command: F) -> F:
    """Adds the limits and the policy of a bid; the command gets them as one `limits`, in the client's own names."""

    @click.option("--model", required=True, help="a model of the catalogue, or an alias")
    @click.option("--max-price", help="USD per standard credit of work, such as 0.00100000")
    @click.option("--max-cost", help="credits for the whole request")
    @click.option("--max-latency", "max_latency_ms", type=click.IntRange(1), help="ms to the first token")
    @click.option("--min-throughput", "min_throughput_tps", type=click.FloatRange(0, min_open=True), help="tokens/s")
    @click.option("--gpu", "gpu_types", multiple=True, help="GPU type accepted; may be repeated")
    @click.option("--only", multiple=True, help="provider accepted; may be repeated")
    @click.option("--exclude", multiple=True, help="provider refused; may be repeated")
    @click.option("--policy", type=click.Choice(POLICIES), default="balanced", show_default=True)
    @click.option(
        "--weights", metavar="P:L:T", callback=_weights, help="price:latency:throughput of balanced, as 2:1:1"
    )
    @functools.wraps(command)
    def with_limits(*args: Any, **options: Any) -> Any:
        limits = {name: options.pop(name) for name in LIMITS}
        return command(*args, limits=limits, **options)

    return cast(F, with_limits)


def token_options(command: F) -> F:
    """Adds the size of a request."""
    size = functools.partial(click.option, type=click.IntRange(1), default=256, show_default=True)
    return size("--prompt-tokens", help="of the prompt at most")(
        size("--max-tokens", help="to generate at most")(command)
    )


@click.command()
@limit_options
@token_options
@output.json_option
@server_options
def quote(server: Server, limits: dict[str, Any], prompt_tokens: int, max_tokens: int, as_json: bool) -> None:
    """Show the Pareto front for a bid. Nothing is deducted."""

    async def ask() -> stubs.QuoteResponse:
        async with connect(server) as client:
            return await client.quote(prompt_tokens=prompt_tokens, max_tokens=max_tokens, **limits)

    answer = run(ask())
    if as_json:
        output.print_json(answer)
        return
    screen = output.stdout()
    screen.print(offer_table(answer.front, (answer.winner_provider_id, answer.winner_ask_id)))
    screen.print(
        f"{output.counted(answer.feasible, 'ask')} within every limit, {answer.front_size} of them on the front"
    )
    if answer.excluded_by:
        screen.print(f"excluded by {excluded(answer.excluded_by)}")


@click.command()
@limit_options
@token_options
@click.option("--order-id", help="made by you; the same again answers with the first result  [default: a new one]")
@click.option("--good-for", "good_for_ms", type=click.IntRange(0, 600_000), default=0, help="ms that the bid may rest")
@output.json_option
@server_options
def match(
    server: Server,
    limits: dict[str, Any],
    prompt_tokens: int,
    max_tokens: int,
    order_id: str | None,
    good_for_ms: int,
    as_json: bool,
) -> None:
    """Match a bid: claims a provider's capacity and holds the worst-case cost until it is settled or expires."""
    when: dict[str, Any] = {"order_id": order_id, "good_for_ms": good_for_ms}

    async def ask() -> stubs.MatchResponse:
        async with connect(server) as client:
            return await client.match(prompt_tokens=prompt_tokens, max_tokens=max_tokens, **when, **limits)

    answer = run(ask())
    if as_json:
        output.print_json(answer)
        return
    screen = output.stdout()
    screen.print(offer_table([answer.offer, *answer.alternates], (answer.offer.provider_id, answer.offer.ask_id)))
    screen.print(f"order      {answer.order_id}{' (matched before)' if answer.replayed else ''}")
    screen.print(f"held       {output.money(answer.held)}")
    screen.print(f"available  {output.money(answer.available)}")
    screen.print(f"grant      {answer.grant}", soft_wrap=True)


def offer_table(offers: Sequence[stubs.Offer], winner: tuple[str, str]) -> Table:
    """Offers as a bid sees them; the winner (provider and ask) is marked."""
    figures = ("$/Mtok in", "$/Mtok out", "ms", "tokens/s", "credits at most")
    shown = output.table("", "provider", "GPU", *figures, right=figures)
    for offer in offers:
        shown.add_row(
            "➤" if (offer.provider_id, offer.ask_id) == winner else "",
            offer.provider_id,
            offer.gpu_type,
            offer.prompt_usd_per_mtok,
            offer.completion_usd_per_mtok,
            output.number(offer.latency_ms),
            output.number(offer.throughput_tps),
            offer.max_cost,
        )
    return shown


def excluded(counts: dict[str, int]) -> str:
    """`latency 3, price 1`: the limit that excludes most comes first."""
    return ", ".join(f"{limit} {count}" for limit, count in sorted(counts.items(), key=lambda item: -item[1]))
