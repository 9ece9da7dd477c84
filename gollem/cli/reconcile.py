"""`gollem ledger reconcile`: each check of the books by itself, and what exactly does not hold."""

import json
import sys
from pathlib import Path

import click
from rich.text import Text

from gollem.cli import output
from gollem.cli.connection import run
from gollem.cli.failure import Failure
from gollem.cli.settings import read_config
from gollem.clock import SystemClock
from gollem.config import Config
from gollem.errors import GollemError
from gollem.ledger import Check, Reconciler, Result, open_ledger, records, rules

_ABOUT = {
    Check.TRANSACTIONS: "every transaction sums to zero and is what was written",
    Check.TRIAL_BALANCE: "all balances sum to zero",
    Check.BALANCES: "every balance is the sum of its legs",
    Check.HOLDS: "what is held is what open holds hold; none is overdue",
    Check.SEALS: "the past is what it was when its day was sealed",
}


@click.command()
@click.option("--data", metavar="FOLDER", help="the exchange's data folder  [default: as for serve]")
@click.option("--ledger", "url", metavar="URL", help="of the ledger, such as sqlite:///var/lib/gollem/ledger.db")
@click.option("--check", "names", multiple=True, type=click.Choice([one.value for one in _ABOUT]), help="only this one")
@click.option("--record", is_flag=True, help="write the results and halt payouts on a break; not while a server runs")
@output.json_option
def reconcile(data: str | None, url: str | None, names: tuple[str, ...], record: bool, as_json: bool) -> None:
    """Prove the books, check by check. Exit status 1, and each finding, where something does not hold.

    Reads only, even while an exchange writes; nothing is ever corrected.
    """
    chosen = {"storage.data": data, "storage.ledger": url}
    config = read_config(overrides={key: value for key, value in chosen.items() if value})
    checks = frozenset(map(Check, names)) or frozenset(_ABOUT)
    try:
        results = run(_results(config, checks, record))
    except GollemError as error:
        raise Failure(error.message, "Name the data folder with --data, or the ledger with --ledger.") from error
    _show(results, as_json)
    sys.exit(0 if all(result.ok for result in results) else 1)


@click.command("resume-payouts")
@click.option("--data", metavar="FOLDER", help="the exchange's data folder  [default: as for serve]")
@click.option("--ledger", "url", metavar="URL", help="of the ledger, such as dynamodb://gollem?region=eu-west-1")
@click.option("--approver", metavar="NAME", required=True, help="who has looked into it")
def resume_payouts(data: str | None, url: str | None, approver: str) -> None:
    """Let payouts go on after reconciliation halted them; a ledger on SQLite while no server runs."""
    chosen = {"storage.data": data, "storage.ledger": url}
    config = read_config(overrides={key: value for key, value in chosen.items() if value})
    try:
        reason = run(_resume(config.storage.ledger_url(), approver))
    except GollemError as error:
        raise Failure(error.message, "Correct the books, then name the ledger with --data or --ledger.") from error
    click.echo(f"payouts go on; they were halted by {reason}" if reason else "payouts are not halted")


async def _resume(url: str, approver: str) -> str:
    """Why they were halted; nothing if they were not."""
    await (await open_ledger(url, read_only=True)).close()
    opened = await open_ledger(url)
    try:
        breaker = await opened.find_record(records.BREAKER, records.PAYOUTS)
        if breaker is None or breaker.state != "HALTED":
            return ""
        await opened.post(rules.payouts_resumed(breaker, approver, SystemClock().now_ms()))
        return breaker.text("reason")
    finally:
        await opened.close()


async def _results(config: Config, checks: frozenset[Check], record: bool) -> list[Result]:
    url = config.storage.ledger_url()
    if record:  # a wrong name must not make a new ledger
        await (await open_ledger(url, read_only=True)).close()
    opened = await open_ledger(url, read_only=not record)
    settings = config.reconcile
    reconciler = Reconciler(
        opened,
        SystemClock(),
        grace_ms=settings.hold_grace_ms,
        seal_copy=Path(settings.seal_copy) if settings.seal_copy else None,
        sealed_days=36_500,  # all of them: there is time
    )
    try:
        return await (reconciler.run(checks) if record else reconciler.look(checks))
    finally:
        await opened.close()


def _show(results: list[Result], as_json: bool) -> None:
    if as_json:
        for result in results:
            row = {"check": result.check, "ok": result.ok, "findings": list(result.findings)}
            click.echo(json.dumps(row | {"transactions": result.transactions, "accounts": result.accounts}))
        return
    table = output.table("check", "what must hold", "result")
    for result in results:
        found = output.counted(len(result.findings), "finding")
        verdict = f"[red]{found}[/red]" if result.findings else "[green]holds[/green]"
        table.add_row(result.check, _ABOUT[result.check], verdict)
    console = output.stdout()
    console.print(table)
    for result in results:
        for finding in result.findings:
            console.print(Text(f"{result.check} {finding}"), soft_wrap=True)
    click.echo(f"{results[0].transactions:,} transactions and {results[0].accounts:,} accounts were read")
