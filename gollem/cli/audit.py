"""`gollem ledger audit`: proves that the books balance, from the file itself or by asking the exchange."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from gollem.cli import output
from gollem.cli.backup import backup, export, rebuild, restore
from gollem.cli.connection import Server, ask, read_key, run
from gollem.cli.create import create
from gollem.cli.failure import Failure
from gollem.cli.reconcile import reconcile, resume_payouts
from gollem.cli.settings import read_config
from gollem.errors import GollemError
from gollem.ledger import open_ledger
from gollem_client import stubs


@dataclass(frozen=True)
class Books:
    """What an audit read, and a line for each thing that does not hold."""

    transactions: int
    accounts: int
    findings: Sequence[str]


@click.group()
def ledger() -> None:
    """Make a ledger, prove that its books balance."""


ledger.add_command(create)
ledger.add_command(reconcile)
for command in (backup, restore, export, rebuild, resume_payouts):
    ledger.add_command(command)


@ledger.command()
@click.option("--data", metavar="FOLDER", help="the exchange's data folder  [default: as for serve]")
@click.option("--ledger", "url", metavar="URL", help="of the ledger, such as sqlite:///var/lib/gollem/ledger.db")
@click.option("--server", "address", envvar="GOLLEM_SERVER", help="ask this exchange; needs the key of an operator")
@click.option("--key-file", type=click.Path(path_type=Path), help="file of the API key; else GOLLEM_API_KEY has it")
@output.json_option
def audit(data: str | None, url: str | None, address: str | None, key_file: Path | None, as_json: bool) -> None:
    """Check every transaction and balance. Exit status 1, and a line each, where something does not hold.

    Reads the ledger's file, even while an exchange writes to it; with --server, that exchange audits itself.
    """
    chosen = {"storage.data": data, "storage.ledger": url}
    overrides = {key: value for key, value in chosen.items() if value}
    if address and not overrides:
        books = run(ask_books(Server(address, read_key(key_file))))
    else:
        books = read_books(read_config(overrides=overrides).storage.ledger_url())
    _show(books, as_json)
    sys.exit(1 if books.findings else 0)


def read_books(url: str) -> Books:
    """Audit a ledger without writing to it. Raises Failure."""

    async def read() -> Books:
        opened = await open_ledger(url, read_only=True)
        try:
            report = await opened.audit()
            return Books(report.transactions, report.accounts, report.findings)
        finally:
            await opened.close()

    try:
        return run(read())
    except GollemError as error:
        advice = "Name the data folder with --data, the ledger with --ledger, or an exchange with --server."
        raise Failure(error.message, advice) from error


async def ask_books(server: Server) -> Books:
    """Have an exchange audit itself. Raises Failure."""
    answer = await ask(server, "AdminService/Audit", stubs.AuditRequest(), stubs.AuditResponse)
    return Books(answer.transactions, answer.accounts, answer.findings)


def _show(books: Books, as_json: bool) -> None:
    if as_json:
        row = {"ok": not books.findings, "transactions": books.transactions, "accounts": books.accounts}
        click.echo(json.dumps(row | {"findings": list(books.findings)}))
        return
    for finding in books.findings:
        click.echo(finding)
    verdict = f"{len(books.findings)} things do not hold" if books.findings else "the books balance"
    click.echo(f"{books.transactions:,} transactions, {books.accounts:,} accounts: {verdict}")
