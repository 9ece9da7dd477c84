"""`gollem config`, and the options from which `gollem serve` takes its settings."""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from gollem.cli import output
from gollem.cli.environment import not_settings
from gollem.cli.failure import Failure
from gollem.config import Config, ConfigError, describe, load, read

F = TypeVar("F", bound=Callable[..., Any])
# Options that stand for a setting.
SHORTHANDS = {
    "data": "storage.data",
    "ledger": "storage.ledger",
    "keys": "storage.keys",
    "book": "nodes.book",
    "payments": "payments.gateway",
    "dashboard": "bridge.dashboard",
    "host": "server.host",
    "port": "server.port",
}


def setting_options(command: F) -> F:
    """Adds --config and --set; the command gets them as `file` and `overrides`, for `read_config`."""

    @click.option("--config", "file", type=click.Path(dir_okay=False, path_type=Path), help="TOML file of settings")
    @click.option("--set", "chosen", multiple=True, metavar="SECTION.NAME=VALUE", help="one setting; may be repeated")
    @functools.wraps(command)
    def with_settings(*args: Any, chosen: tuple[str, ...], **options: Any) -> Any:
        return command(*args, overrides=dict(map(_setting, chosen)), **options)

    return cast(F, with_settings)


def serve_options(command: F) -> F:
    """Adds --config, --set and shorthands; the command gets them as `file` and `overrides`, for `read_config`."""

    @setting_options
    @click.option("--data", metavar="FOLDER", help="where the ledger and the keys are kept")
    @click.option("--ledger", metavar="URL", help="of the ledger, when it is not in the data folder")
    @click.option("--keys", metavar="URL", help="of the API keys, when they are not in the data folder")
    @click.option("--book", metavar="URL", help="of the Redis that nodes share, or memory: this process alone")
    @click.option("--payments", metavar="NAME", help="who takes and pays money: stripe, local (to try it) or none")
    @click.option(
        "--dashboard",
        is_flag=True,
        flag_value="true",
        default=None,
        help="serve the dashboard's pages, for the gateway",
    )
    @click.option("--host", help="address to listen on")
    @click.option("--port", help="gRPC port; 0 takes a free one")
    @functools.wraps(command)
    def with_places(*args: Any, overrides: dict[str, str], **options: Any) -> Any:
        short = {key: value for name, key in SHORTHANDS.items() if (value := options.pop(name)) is not None}
        return command(*args, overrides=overrides | short, **options)

    return cast(F, with_places)


def config_options(command: F) -> F:
    """As `serve_options`; the command gets them as one `config`."""

    @serve_options
    @functools.wraps(command)
    def with_config(*args: Any, file: Path | None, overrides: dict[str, str], **options: Any) -> Any:
        return command(*args, config=read_config(file, overrides), **options)

    return cast(F, with_config)


def read_config(file: Path | None = None, overrides: dict[str, str] | None = None) -> Config:
    """Settings of the file, the environment and `overrides`. Raises Failure."""
    try:
        return load(file, os.environ, overrides)
    except ConfigError as error:
        raise Failure(str(error)) from error


@click.group(invoke_without_command=True)
@serve_options
@output.json_option
@click.pass_context
def config(context: click.Context, file: Path | None, overrides: dict[str, str], as_json: bool) -> None:
    """Show every setting, its value as `gollem serve` would take it, and what it is; or check all of it."""
    if context.invoked_subcommand is None:
        show(read_config(file, overrides), as_json)
    elif file or overrides or as_json:
        raise click.UsageError(f"options belong after `{context.invoked_subcommand}`")


@config.command("check")
@serve_options
def check_config(file: Path | None, overrides: dict[str, str]) -> None:
    """Say everything that would keep `gollem serve` from starting with these settings. Nothing is changed.

    The settings are shown as they would be used, without secrets. Exit status 1, and a line each, for what is wrong.
    A variable of the environment that looks like a setting and is none is told too.
    """
    from gollem.cli.config_check import what_is_wrong

    found, faults = read(file, os.environ, overrides)
    show(found)
    for line in not_settings():
        click.echo(f"gollem: warning: {line}", err=True)
    faults += what_is_wrong(found)
    for fault in faults:
        click.echo(f"gollem: {fault}", err=True)
    if faults:
        raise click.exceptions.Exit(1)
    click.echo("nothing is wrong with these settings", err=True)


def show(config: Config, as_json: bool = False) -> None:
    """Secrets are only said to be set."""
    if as_json:
        click.echo(json.dumps({key: value for key, value, _ in describe(config)}))
        return
    shown = output.table("setting", "value", "what it is")
    for key, value, purpose in describe(config):
        shown.add_row(key, str(value) or "-", purpose)
    output.stdout().print(shown)


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--set {text}: must be section.name=value")
    return key, value
