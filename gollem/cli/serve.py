"""`gollem serve`: runs the exchange until it is told to stop."""

import errno
import logging

import click

from gollem.cli.environment import not_settings
from gollem.cli.failure import Failure
from gollem.cli.settings import config_options
from gollem.config import Config, ConfigError
from gollem.errors import BookUnavailable, GollemError, InvariantBroken
from gollem.market import CatalogueError
from gollem.observability import logging_as, traces

_log = logging.getLogger(__name__)


@click.command()
@config_options
def serve(config: Config) -> None:
    """Run the exchange. SIGTERM or Ctrl-C stops it after the calls under way."""
    from gollem import app  # loads every room

    try:
        watch = config.observability
        with logging_as(watch), traces.tracing(watch.otlp, watch.trace_percent):
            for line in not_settings():
                _log.warning(line)
            app.serve(config, lambda port: _announce(f"listening on {config.server.host}:{port}", watch.log))
    except (GollemError, CatalogueError, ConfigError, OSError) as error:
        raise _failure(error, config) from error


def _announce(words: str, form: str) -> None:
    """To whoever waits for it. Where logs are JSON, each line is."""
    if form == "json":
        _log.info(words)
    else:
        click.echo(words, err=True)


def _failure(error: Exception, config: Config) -> Failure:
    """What keeps the exchange from starting, in one line, and what to do."""
    if isinstance(error, InvariantBroken):  # it says itself what has to be mended
        return Failure(error.message)
    if isinstance(error, BookUnavailable):
        return Failure(error.message, "Is Redis there? Name another with --book; memory is for a server alone.")
    if isinstance(error, GollemError):
        return Failure(error.message, "Name another folder with --data, or another ledger with --ledger.")
    if isinstance(error, CatalogueError):
        return Failure(f"catalogue: {error}", "Mend that file, or name another with --set market.catalogue=FILE.")
    if isinstance(error, ConfigError):
        return Failure(str(error), "`gollem config` lists all settings.")
    if isinstance(error, OSError) and error.filename:
        return Failure(f"{error.filename}: {error.strerror}", "Name another folder with --data.")
    place = f"{config.server.host}:{config.server.port}"
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return Failure(f"cannot serve at {place}: the port is taken", "Is another one running? Try --port.")
    return Failure(f"cannot serve at {place}: {error}", "Name an address of this machine with --host and --port.")
