"""What would keep an exchange from starting with its settings, and what they do not agree with on this machine.

Nothing is opened, made or asked over a network: a fault is a line that begins with the setting's key.
"""

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from gollem.clock import SystemClock
from gollem.config import Config, ConfigError, variable_of
from gollem.dynamodb_url import address_of
from gollem.errors import GollemError
from gollem.market import Catalogue, CatalogueError
from gollem.nodes import open_shared_book

_STRIPE_NEEDS = ("stripe_key", "webhook_secrets", "connect_secrets")


def what_is_wrong(config: Config) -> list[str]:
    """A line for each fault."""
    checks = (_data_folder, _ledger, _keys, _grant_keys, _book, _catalogue, _payments, _ports, _files, _libraries)
    return [fault for check in checks for fault in check(config)]


def _data_folder(config: Config) -> Iterator[str]:
    yield from _unwritable("storage.data", Path(config.storage.data))


def _ledger(config: Config) -> Iterator[str]:
    url = config.storage.ledger_url()
    if url.startswith("dynamodb:"):
        yield from _unparsed("storage.ledger", lambda: _parse_ledger(url))
    elif url.startswith("sqlite:///") and url.removeprefix("sqlite:///").strip("/"):
        if config.storage.ledger:
            yield from _unwritable("storage.ledger", Path("/", url.removeprefix("sqlite:///").lstrip("/")).parent)
        if not config.nodes.is_alone:
            yield "storage.ledger: a ledger on SQLite belongs to one process; with nodes.book it must be on DynamoDB"
    elif url != "memory:":
        yield f"storage.ledger: {url!r} is no ledger: such as sqlite:///var/lib/gollem/ledger.db or dynamodb://table"


def _parse_ledger(url: str) -> None:
    if find_spec("aioboto3"):  # else its absence is told
        from gollem.ledger.dynamodb.ledger import parse_url

        parse_url(url)


def _keys(config: Config) -> Iterator[str]:
    if config.storage.keys and address_of(config.storage.keys) is None:
        yield f"storage.keys: {config.storage.keys!r} is no table: such as dynamodb://gollem-keys?region=eu-west-1"


def _grant_keys(config: Config) -> Iterator[str]:
    from gollem.rpc import GrantSigner  # loads much

    secret = config.storage.grant_keys
    if secret:
        yield from _unparsed("storage.grant_keys", lambda: GrantSigner.open(Path(config.storage.data), secret))


def _book(config: Config) -> Iterator[str]:
    if config.nodes.is_alone or find_spec("redis"):
        yield from _unparsed("nodes.book", lambda: open_shared_book(config.nodes, "", SystemClock()))


def _catalogue(config: Config) -> Iterator[str]:
    if config.market.catalogue:
        try:
            Catalogue.load(Path(config.market.catalogue))
        except (CatalogueError, OSError) as error:
            yield f"market.catalogue: {error}"


def _payments(config: Config) -> Iterator[str]:
    """Also what works and is dangerous: play money beside a ledger or a book that others share."""
    payments = config.payments
    if payments.gateway == "stripe":
        for name in _STRIPE_NEEDS:
            if not all(part.strip() for part in getattr(payments, name).split(",")):
                variable = variable_of(f"payments.{name}")
                yield f"payments.{name}: must be set for payments.gateway = stripe, best in the environment: {variable}"
    if payments.gateway == "local" and not config.nodes.is_alone:
        yield "payments.gateway: local is for development, by one process: not with nodes.book"


def _ports(config: Config) -> Iterator[str]:
    """Ports of one process that are the same; 0 is a free one."""
    taken: dict[int, str] = {}
    for section, name in (("server", "port"), ("server", "metrics_port"), ("bridge", "port")):
        port = getattr(getattr(config, section), name, 0)
        key = f"{section}.{name}"
        if port and taken.setdefault(port, key) != key:
            yield f"{key}: {port} is that of {taken[port]} already"


def _files(config: Config) -> Iterator[str]:
    copy = config.reconcile.seal_copy
    if copy:
        yield from _unwritable("reconcile.seal_copy", Path(copy).parent)
        if Path(copy).absolute().is_relative_to(Path(config.storage.data).absolute()):
            yield "reconcile.seal_copy: must be outside of storage.data: who can write there could write both"
    for name in ("certificate", "private_key"):
        file = getattr(config.gateway, name)
        if file and not os.access(file, os.R_OK):
            yield f"gateway.{name}: {file} cannot be read"


def _libraries(config: Config) -> Iterator[str]:
    """What is chosen and not installed."""
    chosen = {
        "aioboto3": ("dynamodb", "storage.ledger", config.storage.ledger_url().startswith("dynamodb:")),
        "redis": ("redis", "nodes.book", not config.nodes.is_alone),
        "stripe": ("stripe", "payments.gateway", config.payments.gateway == "stripe"),
    }
    for library, (extra, key, wanted) in chosen.items():
        if wanted and not find_spec(library):
            yield f"{key}: needs a library that is not installed: pip install 'gollem[{extra}]'"


def _unwritable(key: str, folder: Path) -> Iterator[str]:
    """A folder that is there and cannot be written to, or is not there and cannot be made."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        yield f"{key}: {there} is no folder"
    elif not os.access(there, os.W_OK | os.X_OK):
        yield f"{key}: {there} is not writable for this user"


def _unparsed(key: str, parse: Callable[[], object]) -> Iterator[str]:
    try:
        parse()
    except (GollemError, ConfigError) as error:
        text = str(error)
        yield text if text.startswith(f"{key}:") else f"{key}: {text}"
