"""`gollem cases`: what waits for an operator, and what the operator decides."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gollem.cli import output
from gollem.cli.connection import Server, call, new_id, server_options
from gollem_client import stubs

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def cases() -> None:
    """See what waits for an operator, and decide it. Needs the key of an operator."""


def _case_id(command: F) -> F:
    option = click.option(
        "--id", "case_id", help="made by you; the same again does nothing twice  [default: a new one]"
    )
    return option(command)


@cases.command("list")
@click.option("--kind", default="", help="alert, dispute, payout, adjustment, unmatched, refund, event or purchase")
@output.json_option
@server_options
def list_(server: Server, kind: str, as_json: bool) -> None:
    """List what waits for somebody."""
    answer = call(server, "AdminService/ListCases", stubs.ListCasesRequest(kind=kind), stubs.ListCasesResponse)
    if as_json:
        output.print_json(answer)
        return
    if not answer.cases:
        click.echo("nothing waits")
        return
    shown = output.table("what", "id", "state", "about", whole=("id",))
    for case in answer.cases:
        shown.add_row(case.kind, case.id, case.state, case.about)
    output.stdout().print(shown)


@cases.command()
@click.argument("account")
@click.argument("purchase_id")
@click.argument("amount_usd")
@_case_id
@server_options
def refund(server: Server, account: str, purchase_id: str, amount_usd: str, case_id: str | None) -> None:
    """Send AMOUNT_USD of a purchase back to its card; the account must have the credits."""
    request = stubs.RefundPurchaseRequest(
        refund_id=case_id or new_id(), account=account, purchase_id=purchase_id, amount_usd=amount_usd
    )
    _decide(server, "RefundPurchase", request, f"${amount_usd} of {purchase_id} on their way to the card")


@cases.command()
@click.argument("account")
@click.option("--reason", required=True)
@_case_id
@server_options
def freeze(server: Server, account: str, reason: str, case_id: str | None) -> None:
    """Let an account open no new holds; what is under way still settles."""
    request = stubs.SetFrozenRequest(case_id=case_id or new_id(), account=account, frozen=True, reason=reason)
    _decide(server, "SetFrozen", request, f"{account} is frozen")


@cases.command()
@click.argument("account")
@click.option("--reason", required=True)
@_case_id
@server_options
def unfreeze(server: Server, account: str, reason: str, case_id: str | None) -> None:
    """Let an account spend again; refused while it owes anything."""
    request = stubs.SetFrozenRequest(case_id=case_id or new_id(), account=account, frozen=False, reason=reason)
    _decide(server, "SetFrozen", request, f"{account} may spend")


@cases.command(context_settings={"ignore_unknown_options": True})
@click.argument("ledger_account")
@click.argument("amount")
@click.option("--reason", required=True, help="correction, goodwill, sla, fraud, reconciliation or test")
@click.option("--ticket", required=True, help="made by you; the same again proposes nothing twice")
@server_options
def propose(server: Server, ledger_account: str, amount: str, reason: str, ticket: str) -> None:
    """Propose to move AMOUNT credits to LEDGER_ACCOUNT (such as U:alice or P:acme), from it with a minus sign."""
    request = stubs.ProposeAdjustmentRequest(ticket=ticket, ledger_account=ledger_account, amount=amount, reason=reason)
    _decide(server, "ProposeAdjustment", request, f"{ticket} is proposed; another operator approves it")


@cases.command()
@click.argument("ticket")
@server_options
def approve(server: Server, ticket: str) -> None:
    """Approve what another operator proposed."""
    _decide(server, "ApproveAdjustment", stubs.ApproveAdjustmentRequest(ticket=ticket), f"{ticket} is booked")


@cases.command()
@click.argument("ticket")
@server_options
def reject(server: Server, ticket: str) -> None:
    """Say that what an operator proposed will not be booked."""
    _decide(server, "RejectAdjustment", stubs.RejectAdjustmentRequest(ticket=ticket), f"{ticket} is rejected")


@cases.command("claw-back")
@click.argument("provider_id")
@click.argument("amount")
@click.option("--to", "to_account", default="", help="account that was harmed  [default: the platform]")
@_case_id
@server_options
def claw_back(server: Server, provider_id: str, amount: str, to_account: str, case_id: str | None) -> None:
    """Take AMOUNT credits of proven fraud from a provider; what is not payable to it becomes its debt."""
    request = stubs.ClawBackRequest(
        case_id=case_id or new_id(), provider_id=provider_id, amount=amount, to_account=to_account
    )
    _decide(server, "ClawBack", request, f"{amount} credits are taken from {provider_id}")


@cases.command()
@click.argument("event_id")
@server_options
def revive(server: Server, event_id: str) -> None:
    """Try an event again that failed too often, once you have mended what it failed of."""
    _decide(server, "ReviveEvent", stubs.ReviveEventRequest(event_id=event_id), f"{event_id} is tried again")


@cases.command("write-off")
@click.argument("dispute_id")
@server_options
def write_off(server: Server, dispute_id: str) -> None:
    """Take what is still owed of a lost dispute as the platform's loss."""
    request = stubs.WriteOffDisputeRequest(dispute_id=dispute_id)
    _decide(server, "WriteOffDispute", request, f"{dispute_id} is written off")


@cases.command()
@click.argument("txn_id")
@click.argument("ledger_account")
@server_options
def resolve(server: Server, txn_id: str, ledger_account: str) -> None:
    """Say whose a movement was that nothing explained: U:alice, P:acme, or one of the platform's own accounts."""
    request = stubs.ResolveMovementRequest(txn_id=txn_id, ledger_account=ledger_account)
    _decide(server, "ResolveMovement", request, f"{txn_id} is booked to {ledger_account}")


@cases.command("halt-payouts")
@click.option("--reason", required=True)
@server_options
def halt_payouts(server: Server, reason: str) -> None:
    """Let no payout be initiated or transferred; what was transferred goes on to its bank."""
    _decide(server, "HaltPayouts", stubs.HaltPayoutsRequest(reason=reason), "payouts are halted")


@cases.command("resume-payouts")
@server_options
def resume_payouts(server: Server) -> None:
    """Let payouts go on after they were halted."""
    _decide(server, "ResumePayouts", stubs.ResumePayoutsRequest(), "payouts go on")


@cases.command("take-back")
@click.argument("payout_id")
@server_options
def take_back(server: Server, payout_id: str) -> None:
    """Make the money of a payout payable again that was initiated and not transferred."""
    _decide(server, "TakeBackPayout", stubs.TakeBackPayoutRequest(payout_id=payout_id), f"{payout_id} is taken back")


@cases.command()
@click.argument("alert_id")
@server_options
def close(server: Server, alert_id: str) -> None:
    """Close an alert that you have looked into."""
    _decide(server, "CloseAlert", stubs.CloseAlertRequest(alert_id=alert_id), f"{alert_id} is closed")


def _decide(server: Server, method: str, request: output.Message, done: str) -> None:
    answer = call(server, f"AdminService/{method}", request, stubs.CaseResponse)
    click.echo(f"{done}{' (it was before)' if answer.replayed else ''}")
