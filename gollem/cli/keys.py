"""`gollem keys`: API keys, in the data folder itself: the first one has to come from somewhere."""

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from gollem.cli import output
from gollem.cli.failure import Failure
from gollem.cli.settings import read_config
from gollem.clock import SystemClock
from gollem.errors import GollemError
from gollem.identity import KeyStore, NewKey, Role, make_key
from gollem.identity.sqlite_store import SqliteKeyStore

data_option = click.option("--data", metavar="FOLDER", help="the exchange's data folder  [default: as for serve]")


@click.group()
def keys() -> None:
    """Make, list and revoke API keys in the data folder; an exchange that runs there takes them up at once."""


@keys.command()
@click.option("--account", required=True, help="whose it is; of a provider: its provider id")
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]))
@click.option("--out", type=click.Path(path_type=Path), help="write it to this file, readable by you alone")
@data_option
@output.json_option
def create(account: str, role: str, out: Path | None, data: str | None, as_json: bool) -> None:
    """Make a key. It is shown once and never again: only its hash is kept."""
    with open_store(data_folder(data)) as store:
        made = new_key(store, account, Role(role))
    if out:
        write_secret(out, made.text)
    if as_json:
        shown = {} if out else {"key": made.text}
        click.echo(json.dumps({"key_id": made.record.key_id, "account": account, "role": role} | shown))
        return
    click.echo(f"key {made.record.key_id} for {role} {account}", err=True)
    if not out:
        click.echo(made.text)


@keys.command("list")
@click.option("--account", help="only of this one")
@data_option
@output.json_option
def list_(account: str | None, data: str | None, as_json: bool) -> None:
    """List keys, without their secrets."""
    with open_store(data_folder(data)) as store:
        found = store.list_keys(account)
    if as_json:
        fields = ("key_id", "account", "role", "created_at_ms", "revoked_at_ms")
        click.echo(json.dumps([{name: getattr(key, name) for name in fields} for key in found]))
        return
    shown = output.table("key", "account", "role", "made (UTC)", "")
    for key in found:
        made = datetime.fromtimestamp(key.created_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        shown.add_row(key.key_id, key.account, key.role, made, "revoked" if key.revoked_at_ms is not None else "")
    output.stdout().print(shown)


@keys.command()
@click.argument("key_id")
@data_option
def revoke(key_id: str, data: str | None) -> None:
    """Revoke a key by its id. It is good for nothing from then on."""
    with open_store(data_folder(data)) as store:
        record = store.revoke(key_id, SystemClock().now_ms())
    if record is None:
        raise Failure(f"there is no key {key_id!r}", "`gollem keys list` shows the ids.")
    click.echo(f"{key_id} of {record.account} is revoked")


@contextmanager
def open_store(folder: Path) -> Iterator[KeyStore]:
    """The key store of a data folder, both made if they are not there. Raises Failure."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(SqliteKeyStore(folder / "keys.db")) as store:
            yield store
    except GollemError as error:
        raise Failure(error.message) from error
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror}", "Name the folder with --data.") from error


def new_key(store: KeyStore, account: str, role: Role) -> NewKey:
    """A key that the store knows from now on."""
    made = make_key(account, role, SystemClock().now_ms())
    store.create(made.record)
    return made


def data_folder(data: str | None) -> Path:
    """The folder named, or the one that `gollem serve` would take."""
    return Path(read_config(overrides={"storage.data": data} if data else None).storage.data)


def write_secret(file: Path, secret: str) -> None:
    """A new file that only its owner can read. Raises Failure if it is there already."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}", "Name a new file.") from error
    with os.fdopen(handle, "w") as opened:
        opened.write(f"{secret}\n")
