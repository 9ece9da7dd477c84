"""How things are shown: tables for people, JSON for programs, credits always with USD."""

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

import betterproto
import click
from rich.console import Console
from rich.table import Table

from gollem import units

_PIPED_WIDTH = 240
Message = betterproto.Message  # of the client; named here, so that no other file needs its library

json_option = click.option("--json", "as_json", is_flag=True, help="JSON for programs instead of tables")


def stdout() -> Console:
    """For what was asked for. Plain, and wide enough for any name, when it is not a terminal."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    return Console(file=sys.stdout, highlight=False, width=width)


def stderr() -> Console:
    """For progress and remarks, so that stdout stays clean."""
    return Console(file=sys.stderr, highlight=False)


def tree(message: Message) -> dict[str, Any]:
    """A message in proto's own field names, for JSON; money stays a decimal string."""
    return message.to_dict(casing=betterproto.Casing.SNAKE, include_default_values=True)  # type: ignore[arg-type]


def print_json(message: Message) -> None:
    """A message as one line of JSON."""
    click.echo(json.dumps(tree(message), ensure_ascii=False))


def table(*columns: str, title: str | None = None, right: tuple[str, ...] = (), whole: tuple[str, ...] = ()) -> Table:
    """A light table whose columns named in `right` are figures; those in `whole` are names, which are never cut."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=column in right + whole)
    return made


def atoms(amount: str) -> int:
    """Credits from the wire ("-1.50000000") as atoms; the empty string is none."""
    value = units.parse_fixed(amount.removeprefix("-") or "0", "credits")
    return -value if amount.startswith("-") else value


def money(amount: str) -> str:
    """Credits from the wire, and in USD."""
    return money_atoms(atoms(amount))


def usd(amount: str) -> str:
    """Credits from the wire in USD."""
    return units.format_usd(atoms(amount))


def money_atoms(value_atoms: int) -> str:
    """Atoms as credits, and in USD."""
    return f"{units.format_fixed(value_atoms)} credits (${units.format_usd(value_atoms)})"


def usd_per_mtok(charged_atoms: int, tokens: int) -> str:
    """What an order came to in USD per million tokens, to six places; "-" without tokens."""
    return units.format_usd(round(charged_atoms * 1_000_000 // tokens, -5)) if tokens else "-"


def counted(value: int, one: str) -> str:
    """One bid is "1 bid", two are "2 bids"."""
    return f"{value:,} {one}{'' if value == 1 else 's'}"


def when(at_ms: int) -> str:
    """A moment as its UTC date and time, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def number(value: float) -> str:
    """A measured figure with three significant places or all of its whole digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
