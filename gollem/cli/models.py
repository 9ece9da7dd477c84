"""`gollem models`: what the catalogue has, and what is usual for it."""

import json
from typing import Any

import click

from gollem import units
from gollem.cli import output
from gollem.cli.failure import Failure
from gollem.cli.settings import config_options
from gollem.config import Config
from gollem.market import Catalogue, CatalogueError, Model

_PLAIN_GPU_CENTI = 100


@click.command()
@config_options
@output.json_option
def models(config: Config, as_json: bool) -> None:
    """Show the models of the catalogue: aliases, multiplier, context, and the reference price, latency and throughput.

    Asks no exchange: reads the catalogue that `gollem serve` would take with the same settings. The price is in USD per
    million tokens on a GPU of multiplier 1. `gollem book` shows what is really offered.
    """
    try:
        catalogue = Catalogue.load(config.market.catalogue)
    except CatalogueError as error:
        raise Failure(f"catalogue: {error}", "Name another with --set market.catalogue=FILE.") from error
    rows = [_row(model, catalogue) for model in catalogue.models]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    figures = ("multiplier", "context", "$/Mtok", "ms", "tokens/s")
    shown = output.table("model", *figures, "aliases", right=figures)
    shown.columns[-1].overflow = "fold"  # a name cut off is of no use
    for row in rows:
        numbers = (f"{row['context_tokens']:,}", row["reference_usd_per_mtok"], f"{row['reference_latency_ms']:,.0f}")
        speed = output.number(row["reference_throughput_tps"])
        shown.add_row(row["model"], row["multiplier"], *numbers, speed, ", ".join(row["aliases"]))
    output.stdout().print(shown)


def _row(model: Model, catalogue: Catalogue) -> dict[str, Any]:
    usual = model.reference
    whole, millionths = divmod(model.multiplier_micro, 1_000_000)
    return {
        "model": model.name,
        "aliases": catalogue.aliases(model.name),
        "multiplier": f"{whole}.{millionths:06d}".rstrip("0").rstrip("."),
        "context_tokens": model.context_tokens,
        "reference_usd_per_mtok": units.usd_per_mtok(usual.price_ticks, model.multiplier_micro, _PLAIN_GPU_CENTI),
        "reference_latency_ms": usual.latency_us / 1_000,
        "reference_throughput_tps": units.tokens_per_second(usual.tpot_ns),
    }
