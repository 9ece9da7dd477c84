"""Providers as payees: what the payment provider says of their accounts, written where payouts are guarded by it."""

import logging

from gollem.clock import Clock
from gollem.errors import KeyReused, StaleRead, WrongState
from gollem.ledger import Ledger, Record, records, rules
from gollem.payments.types import ConnectedAccount

_log = logging.getLogger(__name__)
_MAX_REASON_CHARS = 200


async def find_payee(ledger: Ledger, provider: str) -> Record | None:
    """ENABLED or DISABLED, with its `connected_id`; None before onboarding has made an account."""
    return await ledger.find_record(records.PROVIDER, provider)


async def note_account(ledger: Ledger, clock: Clock, account: ConnectedAccount) -> bool:
    """Write down whether the account, as just fetched, may be paid, and why not. Returns whether that was news.

    An account that is not the one its provider has is passed over. Of two who write at once one does; if they had seen
    different things, the next look decides."""
    known = await find_payee(ledger, account.provider)
    if known is None or known.text("connected_id") != account.connected_id:
        _log.warning("account %s is of no provider", account.connected_id)
        return False
    if (known.state == "ENABLED", known.text("blocked_by")) == (account.can_be_paid, reason(account)):
        return False
    changed = rules.provider_changed(
        known, account.connected_id, account.can_be_paid, clock.now_ms(), blocked_by=reason(account)
    )
    try:
        return (await ledger.post(changed)).applied
    except (KeyReused, StaleRead, WrongState):
        return False


def reason(account: ConnectedAccount) -> str:
    """Why the account cannot be paid; empty if it can."""
    return "" if account.can_be_paid else (account.blocked_by or "onboarding is not complete")[:_MAX_REASON_CHARS]
