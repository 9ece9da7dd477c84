"""Providers as payees: what the payment provider says of their accounts, written where payouts are guarded by it."""

import logging

from gollem.clock import Clock
from gollem.errors import KeyReused, Overtaken
from gollem.ledger import Ledger, Record, records, rules
from gollem.payments.types import ConnectedAccount

_log = logging.getLogger(__name__)
GONE = "its account is gone"
_MAX_REASON_CHARS = 200


async def find_payee(ledger: Ledger, provider: str) -> Record | None:
    """ENABLED or DISABLED, with its `connected_id`; None before onboarding has made an account."""
    return await ledger.find_record(records.PROVIDER, provider)


def is_gone(payee: Record) -> bool:
    """Whether the payment provider has its account no more, or lets us see it no more."""
    return payee.text("blocked_by") == GONE


async def note_account(ledger: Ledger, clock: Clock, account: ConnectedAccount, held_by: str | None = None) -> bool:
    """Write down whether the account, as just fetched, may be paid, and why not. Returns whether that was news.

    `held_by` is why it may not although it could, empty for nothing; None leaves what is known. An account that is not
    the one its provider has is passed over. Of two who write at once one does; if they had seen different things, the
    next look decides."""
    known = await find_payee(ledger, account.provider)
    if known is None or known.text("connected_id") != account.connected_id:
        _log.warning("account %s is of no provider", account.connected_id)
        return False
    return await _note(ledger, clock, known, reason(account), held_by)


async def note_gone(ledger: Ledger, clock: Clock, payee: Record, held_by: str | None = None) -> bool:
    """Write down that the account of `payee`, as just read, is not there any more; as `note_account` otherwise."""
    return await _note(ledger, clock, payee, GONE, held_by)


async def _note(ledger: Ledger, clock: Clock, known: Record, account_says: str, held_by: str | None) -> bool:
    held_by = known.text("held_by") if held_by is None else held_by
    blocked_by = account_says or held_by
    seen = (known.state == "ENABLED", known.text("blocked_by"), known.text("held_by"))
    if seen == (not blocked_by, blocked_by, held_by):
        return False
    changed = rules.provider_changed(
        known, known.text("connected_id"), not blocked_by, clock.now_ms(), blocked_by=blocked_by, held_by=held_by
    )
    try:
        return (await ledger.post(changed)).applied
    except (KeyReused, Overtaken):
        return False


def reason(account: ConnectedAccount) -> str:
    """Why the account cannot be paid; empty if it can."""
    return "" if account.can_be_paid else (account.blocked_by or "onboarding is not complete")[:_MAX_REASON_CHARS]
