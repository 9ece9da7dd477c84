"""`gollem keys`: API keys, in the data folder itself: the first one has to come from somewhere."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click

from gollem.cli import output
from gollem.cli.failure import Failure
from gollem.cli.settings import read_config
from gollem.errors import GollemError
from gollem.identity import KeyRecord, KeyStore, NewKey, Role, open_key_store

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
    made = asyncio.run(new_key(data_folder(data), account, Role(role)))
    if out:
        write_secret(out, made.secret)
    if as_json:
        shown = {} if out else {"key": made.secret}
        click.echo(json.dumps({"key_id": made.key_id, "account": account, "role": role} | shown))
        return
    click.echo(f"key {made.key_id} for {role} {account}", err=True)
    if not out:
        click.echo(made.secret)


@keys.command("list")
@click.option("--account", help="only of this one")
@data_option
@output.json_option
def list_(account: str | None, data: str | None, as_json: bool) -> None:
    """List keys, without their secrets."""
    found = asyncio.run(_listed(data_folder(data), account))
    if as_json:
        fields = ("key_id", "account", "role", "created_at_ms", "revoked_at_ms")
        click.echo(json.dumps([{name: getattr(key, name) for name in fields} for key in found]))
        return
    shown = output.table("key", "account", "role", "made (UTC)", "")
    for key in found:
        shown.add_row(
            key.key_id, key.account, key.role, output.when(key.created_at_ms), "revoked" if key.revoked else ""
        )
    output.stdout().print(shown)


@keys.command()
@click.argument("key_id")
@data_option
def revoke(key_id: str, data: str | None) -> None:
    """Revoke a key by its id. It is good for nothing from then on."""
    record = asyncio.run(_revoked(data_folder(data), key_id))
    if record is None:
        raise Failure(f"there is no key {key_id!r}", "`gollem keys list` shows the ids.")
    click.echo(f"{key_id} of {record.account} is revoked")


@asynccontextmanager
async def open_store(folder: Path) -> AsyncIterator[KeyStore]:
    """The key store of a data folder, both made if they are not there. Raises Failure."""
    try:
        store = await open_key_store(folder)
        try:
            yield store
        finally:
            await store.close()
    except GollemError as error:
        raise Failure(error.message) from error
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror}", "Name the folder with --data.") from error


async def new_key(folder: Path, account: str, role: Role) -> NewKey:
    """A key that the folder's store knows from now on. Raises Failure."""
    async with open_store(folder) as store:
        return await store.create(account, role)


async def _listed(folder: Path, account: str | None) -> Sequence[KeyRecord]:
    async with open_store(folder) as store:
        return await store.list(account)


async def _revoked(folder: Path, key_id: str) -> KeyRecord | None:
    """The key as it is now; None if there is none."""
    async with open_store(folder) as store:
        await store.revoke(key_id)
        return await store.find(key_id)


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
