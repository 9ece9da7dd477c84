"""What to do about an error of the exchange or of a provider, by its reason and figures."""

import click

from gollem_client import GollemError
from gollem_client.errors import InvalidField, NoFeasibleAsk, ProviderFailed

_ADVICE = {
    "UNAUTHENTICATED": "Make a key with `gollem keys create` and put it into GOLLEM_API_KEY.",
    "FORBIDDEN": "Name the key of another role or account with --key-file.",
    "UNKNOWN_MODEL": "`gollem models` lists the catalogue.",
    "INSUFFICIENT_CREDITS": "Lower --max-tokens, or buy some with `gollem credits buy`.",
    "SPEND_LIMIT_REACHED": "Lower --max-tokens, or raise the limit with `gollem spend-limit`.",
    "TOO_MANY_KEYS": "Revoke one with `gollem keys revoke`.",
    "NOTHING_PAYABLE": "`gollem payouts earnings` shows what matures; it is paid out by itself once there is enough.",
    "PAYMENTS_OFF": "Ask the operator, or start one with `gollem serve --payments local` to try it.",
    "PAYMENTS_UNAVAILABLE": "Repeat the command.",
    "NOT_ONBOARDED": "`gollem payouts onboard` says what is missing.",
    "CAPACITY_EXHAUSTED": "Try again in a moment.",
    "RATE_LIMITED": "Try again in a moment.",
    "LEDGER_UNAVAILABLE": "Repeat the command.",
    "OUTCOME_UNKNOWN": "Repeat the command, with the same --order-id if it has one.",
    "EXCHANGE_UNREACHABLE": "Start one with `gollem serve`, or name it with --server.",
    "SHUTTING_DOWN": "Try again in a moment.",
    "BOOK_UNAVAILABLE": "Try again in a moment.",
}


def what_happened(error: GollemError) -> str:
    """The error's own words, of a field that an option stands for with the option's name; where several providers were
    tried, each of them and why it failed."""
    if isinstance(error, InvalidField) and (option := _option(error.field)):
        return error.message.replace(error.field, option, 1)
    if not isinstance(error, ProviderFailed):
        return error.message
    earlier = [f"{name} ({reason})" for name, reason in error.tried if f"{name} ({reason})" not in error.message]
    if len(error.tried) < 2 or not earlier:
        return error.message
    tried = ", ".join(f"{name} ({reason})" for name, reason in error.tried)
    return f"{error.message.removesuffix('.')}; tried {tried}"


def _option(field: str) -> str:
    """What the caller of this command wrote for the field, if it was an option."""
    context = click.get_current_context(silent=True)
    name = field.rpartition(".")[2]
    options = context.command.params if context else []
    return next((each.opts[0] for each in options if isinstance(each, click.Option) and each.name == name), "")


def what_to_do(error: GollemError) -> str:
    """A sentence, or nothing."""
    if isinstance(error, ProviderFailed):
        return _after_failure(error)
    if error.reason == "NO_FEASIBLE_ASK" and isinstance(error, NoFeasibleAsk):
        return _without_ask(error)
    return _ADVICE.get(error.reason, "")


def _after_failure(error: ProviderFailed) -> str:
    if error.text:
        return "What had been received is paid for; `gollem transactions` shows it."
    return "Nothing is charged. Try again in a moment, or name others with --only and --exclude."


def _without_ask(error: NoFeasibleAsk) -> str:
    """A limit can be loosened only where there is an ask that it excludes."""
    if not any(error.excluded_by.values()):
        return "`gollem book` shows what is offered."
    loosen = "Loosen a limit; `gollem quote` shows what each one excludes."
    return f"Try again in a moment. {loosen}" if error.may_change else loosen
