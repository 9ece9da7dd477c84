"""`gollem keys`: API keys, where they are kept, past any exchange: the first one has to come from somewhere."""

import asyncio
import base64
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from gollem.cli import output
from gollem.cli.failure import Failure
from gollem.cli.settings import read_config
from gollem.config import StorageConfig
from gollem.errors import GollemError
from gollem.identity import KeyRecord, KeyStore, NewKey, Role, make_key_table, open_key_store

F = TypeVar("F", bound=Callable[..., Any])


def place_options(command: F) -> F:
    """Adds --data and --keys; the command gets them as one `place`."""

    @click.option("--data", metavar="FOLDER", help="the exchange's data folder  [default: as for serve]")
    @click.option("--keys", "url", metavar="URL", help="of the keys, when they are not in the data folder")
    @wraps(command)
    def with_place(*args: Any, data: str | None, url: str | None, **options: Any) -> Any:
        chosen = {"storage.data": data, "storage.keys": url}
        config = read_config(overrides={key: value for key, value in chosen.items() if value is not None})
        return command(*args, place=config.storage, **options)

    return cast(F, with_place)


@click.group()
def keys() -> None:
    """Make, list and revoke API keys, in the data folder or in DynamoDB; exchanges over it take them up at once."""


@keys.command()
@click.option("--account", required=True, help="whose it is; of a provider: its provider id")
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]))
@click.option("--out", type=click.Path(path_type=Path), help="write it to this file, readable by you alone")
@place_options
@output.json_option
def create(account: str, role: str, out: Path | None, place: StorageConfig, as_json: bool) -> None:
    """Make a key. It is shown once and never again: only its hash is kept."""
    made = asyncio.run(_made(place, account, Role(role)))
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
@place_options
@output.json_option
def list_(account: str | None, place: StorageConfig, as_json: bool) -> None:
    """List keys, without their secrets."""
    found = asyncio.run(_listed(place, account))
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
@place_options
def revoke(key_id: str, place: StorageConfig) -> None:
    """Revoke a key by its id. It is good for nothing from then on."""
    record = asyncio.run(_revoked(place, key_id))
    if record is None:
        raise Failure(f"there is no key {key_id!r}", "`gollem keys list` shows the ids.")
    click.echo(f"{key_id} of {record.account} is revoked")


@keys.command()
@place_options
def table(place: StorageConfig) -> None:
    """Make the table of keys on DynamoDB; one that is there already is left as it is."""
    if not place.keys:
        raise Failure("no table is named", "Name it with --keys dynamodb://gollem-keys?region=...")
    try:
        told = asyncio.run(make_key_table(place.keys))
    except GollemError as error:
        raise Failure(error.message, "Credentials and region are found as by any AWS tool.") from error
    for line in told:
        click.echo(line)


@keys.command()
@click.option("--to", "target", required=True, metavar="URL", help="of the table, such as dynamodb://gollem-keys")
@place_options
def copy(target: str, place: StorageConfig) -> None:
    """Take all keys over into a table, as they are, and revocations of those that it has already."""
    if place.keys == target:
        raise Failure("the keys are there already", "Name where they come from with --data, or --keys.")
    click.echo(f"{asyncio.run(_copied(place, target))} keys or revocations taken over")


@keys.command()
@click.option("--existing", is_flag=True, help="print the one in the data folder, so that other nodes can have it")
@place_options
def grant(existing: bool, place: StorageConfig) -> None:
    """Print a new key that signs grants, for the setting storage.grant_keys. Whoever has it can make grants."""
    file = Path(place.data) / "grant.key"
    try:
        seed = file.read_bytes() if existing else secrets.token_bytes(32)
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}", "Name the folder with --data.") from error
    click.echo(base64.urlsafe_b64encode(seed).rstrip(b"=").decode())


@asynccontextmanager
async def open_store(place: StorageConfig) -> AsyncIterator[KeyStore]:
    """The keys that an exchange with this storage takes; a folder is made if it is not there. Raises Failure."""
    try:
        store = await open_key_store(Path(place.data), url=place.keys)
        try:
            yield store
        finally:
            await store.close()
    except GollemError as error:
        raise Failure(error.message) from error
    except OSError as error:
        raise Failure(f"{place.data}: {error.strerror}", "Name the folder with --data.") from error


async def new_key(folder: Path, account: str, role: Role) -> NewKey:
    """A key that the folder's own store knows from now on. Raises Failure."""
    return await _made(StorageConfig(data=str(folder)), account, role)


async def _made(place: StorageConfig, account: str, role: Role) -> NewKey:
    async with open_store(place) as store:
        return await store.create(account, role)


async def _listed(place: StorageConfig, account: str | None) -> Sequence[KeyRecord]:
    async with open_store(place) as store:
        return await store.list(account)


async def _revoked(place: StorageConfig, key_id: str) -> KeyRecord | None:
    """The key as it is now; None if there is none."""
    async with open_store(place) as store:
        await store.revoke(key_id)
        return await store.find(key_id)


async def _copied(place: StorageConfig, target: str) -> int:
    """How many were news there."""
    copied, last = 0, None
    async with open_store(place) as store, open_store(StorageConfig(data=place.data, keys=target)) as other:
        while page := await store.list(after=last):
            for record in page:
                copied += await other.adopt(record)
            last = page[-1]
    return copied


def write_secret(file: Path, secret: str) -> None:
    """A new file that only its owner can read. Raises Failure if it is there already."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}", "Name a new file.") from error
    with os.fdopen(handle, "w") as opened:
        opened.write(f"{secret}\n")
