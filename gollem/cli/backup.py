"""`gollem ledger backup`, `restore`, `export`, `rebuild`: copies of the books, each proven before it is relied on."""

from pathlib import Path

import click

from gollem.cli.connection import run
from gollem.cli.failure import Failure
from gollem.cli.settings import read_config
from gollem.errors import GollemError

_FILE = click.Path(dir_okay=False, path_type=Path)
_DATA = click.option("--data", metavar="FOLDER", help="the exchange's data folder  [default: as for serve]")
_LEDGER = click.option(
    "--ledger", "url", metavar="URL", help="of the table, such as dynamodb://gollem?region=eu-west-1"
)


@click.command()
@click.option("--to", required=True, type=_FILE, help="the copy's file; must not be there")
@_DATA
@click.option("--ledger", "url", metavar="URL", help="of the ledger, such as sqlite:///var/lib/gollem/ledger.db")
def backup(to: Path, data: str | None, url: str | None) -> None:
    """Copy a ledger on SQLite, even while an exchange writes, and prove the copy."""
    from gollem.ledger.sqlite_backup import back_up

    try:
        report = back_up(_path(data, url), to)
    except GollemError as error:
        advice = "Name the data folder with --data, or the ledger with --ledger, and a new file with --to."
        raise Failure(error.message, advice) from error
    click.echo(f"{to}: {report.transactions:,} transactions, {report.accounts:,} accounts: the books balance")


@click.command()
@click.option("--from", "source", required=True, type=_FILE, help="the copy's file")
@_DATA
def restore(source: Path, data: str | None) -> None:
    """Put a copy into a data folder that has no ledger. Refused if it is damaged, or has half of a transaction."""
    from gollem.ledger.sqlite_backup import restore as put_back

    try:
        report = put_back(source, _path(data))
    except GollemError as error:
        raise Failure(error.message, "Restore into a new folder with --data; a ledger is never overwritten.") from error
    click.echo(f"{report.transactions:,} transactions, {report.accounts:,} accounts: the books balance")
    click.echo("Movements since the copy was made are not in it.")


@click.command()
@click.option("--to", required=True, type=_FILE, help="the file, one item a line; must not be there")
@_LEDGER
def export(to: Path, url: str | None) -> None:
    """Write every item of a table on DynamoDB to a file."""
    from gollem.ledger.dynamodb.rebuild import export_table

    try:
        count = run(export_table(_url(url), to))
    except GollemError as error:
        raise Failure(error.message, "Name the table with --ledger, and a new file with --to.") from error
    click.echo(f"{to}: {count:,} items")


@click.command()
@click.option("--from-export", "source", required=True, type=_FILE, help="the file that `gollem ledger export` made")
@_LEDGER
def rebuild(source: Path, url: str | None) -> None:
    """Fill an empty table from an export. Refused, and said where, if it has half of a transaction."""
    from gollem.ledger.dynamodb.rebuild import rebuild_table

    try:
        count, findings = run(rebuild_table(source, _url(url)))
    except GollemError as error:
        raise Failure(error.message, "Make an empty table with `gollem ledger create --ledger ...` first.") from error
    for finding in findings:
        click.echo(finding)
    if findings:
        raise Failure(f"{source} is not whole: nothing was written", "Export again, or restore to a later moment.")
    click.echo(f"{count:,} items written: the books balance")


def _path(data: str | None, ledger: str | None = None) -> Path:
    chosen = {"storage.data": data, "storage.ledger": ledger}
    storage = read_config(overrides={key: value for key, value in chosen.items() if value}).storage
    url = storage.ledger_url()
    if not url.startswith("sqlite:///"):
        raise Failure(f"{url} is no ledger on SQLite", "For DynamoDB: `gollem ledger export` and `rebuild`.")
    return Path("/", url.removeprefix("sqlite:///").lstrip("/"))


def _url(url: str | None) -> str:
    return read_config(overrides={"storage.ledger": url} if url else {}).storage.ledger_url()
