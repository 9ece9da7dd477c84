"""`gollem serve`: runs the exchange until it is told to stop."""

import logging

import click

from gollem.cli.failure import Failure
from gollem.cli.settings import config_options
from gollem.config import Config


@click.command()
@config_options
def serve(config: Config) -> None:
    """Run the exchange. SIGTERM or Ctrl-C stops it after the calls under way."""
    from gollem import app  # loads every room

    logging.getLogger().setLevel(logging.INFO)
    try:
        app.serve(config, lambda port: click.echo(f"listening on {config.server.host}:{port}", err=True))
    except OSError as error:
        place = f"{config.server.host}:{config.server.port}"
        raise Failure(
            f"cannot serve at {place}: {error.strerror or error}", "Is another one running? Try --port."
        ) from error
