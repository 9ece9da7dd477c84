"""Alerts about money: what a person has to look at, each told once."""

import logging

from gollem.clock import Clock
from gollem.errors import GollemError
from gollem.ledger import Ledger, rules

_log = logging.getLogger(__name__)


def words_of(error: Exception) -> str:
    """What may stand in a log: the text of our own errors, the type of others."""
    return f"{type(error).__name__}: {error}" if isinstance(error, GollemError) else type(error).__name__


async def raise_alert(ledger: Ledger, clock: Clock, alert_id: str, subject: str, message: str) -> bool:
    """Write the alert, and a line in the log, unless one of this id was ever raised. Returns whether it was this call.

    `alert_id` names what is wrong, such as `payment:pi_1`: at most 200 printable characters."""
    now_ms = clock.now_ms()
    posted = await ledger.post(rules.noted(None, rules.alert(alert_id, subject, message, now_ms), now_ms))
    if posted.applied:
        _log.error("alert %s: %s: %s", alert_id, subject, message)
    return posted.applied
