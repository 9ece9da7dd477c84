"""Low-balance alerts: one each time an account falls below its threshold, and none before it was clearly above again.

A rule and its alert change in one transaction, so that neither a restart nor a second server makes an alert twice or
loses it. Whoever debits an account notes it here, which is one look-up; the looking is done beside, and the sweep looks
at every rule, in case a note was dropped or nobody was there to take it. An account that is filled up again before
anybody could look was not low for long enough to say so.
"""

import logging

from gollem.clock import Clock
from gollem.errors import CallerError, WrongState
from gollem.ledger import records, rules
from gollem.ledger.accounts import is_well_formed, user_account
from gollem.ledger.interface import Ledger
from gollem.ledger.rules.parts import require_positive
from gollem.ledger.types import Record
from gollem.units import format_fixed

_log = logging.getLogger(__name__)

MAX_NOTED = 4_096
_PAGE = 256
_ATTEMPTS = 4


class LowBalanceWatch:
    """Lives on one event loop."""

    def __init__(self, ledger: Ledger, clock: Clock, max_noted: int = MAX_NOTED) -> None:
        self._ledger = ledger
        self._clock = clock
        self._max_noted = max_noted
        self._ruled: frozenset[str] = frozenset()  # accounts that had a rule at the last sweep
        self._noted: dict[str, None] = {}  # in order, each once

    async def watch(self, account: str, threshold_atoms: int) -> None:
        """From now on; another threshold replaces the one before. Raises StaleRead if somebody else changed it."""
        require_positive(f"threshold of {account}", threshold_atoms)
        if not is_well_formed(account):
            raise WrongState(f"{account!r} is no account", kind=records.ALERT_RULE, id=account, state="ABSENT")
        known = await self._ledger.find_record(records.ALERT_RULE, account)
        await self._ledger.post(rules.watched(account, threshold_atoms, known, self._clock.now_ms()))
        self._ruled |= {account}

    async def watch_user(self, user: str, threshold_atoms: int) -> None:
        await self.watch(user_account(user), threshold_atoms)

    def note_user(self, user: str) -> None:
        self.note(user_account(user))

    def note(self, account: str) -> None:
        """The account was just debited. When too many wait, the sweep has to do."""
        if account in self._ruled and len(self._noted) < self._max_noted:
            self._noted[account] = None

    async def look(self) -> int:
        """Look at the accounts that were noted. Returns how many alerts were raised."""
        raised = 0
        for account in list(self._noted):
            del self._noted[account]
            raised += await self._look_at(account)
        return raised

    async def sweep(self) -> int:
        """Look at every account with a rule. Returns how many alerts were raised."""
        raised, seen = 0, set[str]()
        for state in ("ARMED", "FIRED"):
            after = ""
            while page := await self._ledger.records(records.ALERT_RULE, state, after, _PAGE):
                for rule in page:
                    seen.add(rule.id)
                    raised += await self._look_at(rule.id)
                after = page[-1].id
        self._ruled = frozenset(seen)
        return raised

    async def _look_at(self, account: str) -> bool:
        """Whether this call raised the alert. What another server did first is read again."""
        for _ in range(_ATTEMPTS):
            rule = await self._ledger.find_record(records.ALERT_RULE, account)
            if rule is None:
                return False
            available_atoms = await self._ledger.account_atoms(account)
            try:
                return await self._judge(rule, available_atoms)
            except CallerError:
                continue
        return False

    async def _judge(self, rule: Record, available_atoms: int) -> bool:
        threshold_atoms, now_ms = rule.number("threshold_atoms"), self._clock.now_ms()
        if rule.state == "ARMED" and available_atoms < threshold_atoms:
            message = f"{format_fixed(available_atoms)} credits, fewer than {format_fixed(threshold_atoms)}"
            posted = await self._ledger.post(rules.fell_below(rule, available_atoms, message, now_ms))
            if posted.applied:
                _log.warning("low balance of %s: %s", rule.id, message)
            return posted.applied
        if rule.state == "FIRED" and available_atoms * 10 > threshold_atoms * 11:
            await self._ledger.post(rules.armed_again(rule, now_ms))
        return False
