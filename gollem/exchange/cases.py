"""What waits for a person: alerts, disputes, payouts, adjustments, movements that nothing explains; and what the person
decides."""

from collections.abc import Awaitable, Callable

from gollem.clock import Clock
from gollem.errors import InvalidField, WrongState
from gollem.ledger import Desk, Ledger, Record, records, rules

MAX_CASES = 500
# By name: the kind of record, and the states in which it waits.
_WAITING = {
    "alert": (records.ALERT, ("OPEN",)),
    "dispute": (records.DISPUTE, ("WITHDRAWN",)),
    "payout": (records.PAYOUT, ("INITIATED", "TRANSFERRED", "FAILED")),
    "adjustment": (records.ADJUSTMENT, ("PROPOSED",)),
    "unmatched": (records.UNMATCHED, ("OPEN",)),
    "refund": (records.REFUND, ("INITIATED",)),
    "event": (records.EVENT, ("DEAD",)),
    "purchase": (records.PURCHASE, ("CREATED",)),
}


class Cases:
    """Every decision carries the operator's own id: said twice, it is done once."""

    def __init__(self, ledger: Ledger, desk: Desk, clock: Clock, has_key: Callable[[str], Awaitable[bool]]) -> None:
        self._ledger = ledger
        self._desk = desk
        self._clock = clock
        self._has_key = has_key

    async def waiting(self, kind: str = "") -> list[Record]:
        """At most MAX_CASES, of one kind, or of all but purchases, which wait for their payers, and first of all that
        payouts are halted, if they are. Raises InvalidField."""
        if kind and kind not in _WAITING:
            raise InvalidField("kind", f"must be one of {', '.join(_WAITING)}")
        found: list[Record] = []
        for name in [kind] if kind else [name for name in _WAITING if name != "purchase"]:
            record_kind, states = _WAITING[name]
            for state in states:
                found += await self._ledger.records(record_kind, state, limit=MAX_CASES)
        breaker = await self._ledger.find_record(records.BREAKER, records.PAYOUTS)
        if not kind and breaker and breaker.state == "HALTED":
            found.insert(0, breaker)
        return found[:MAX_CASES]

    async def set_frozen(self, case_id: str, account: str, frozen: bool, reason: str, operator: str) -> bool:
        """Whether this call did it; unfreezing lifts all that froze the account. Raises WrongState for one in debt,
        KeyReused, InvalidField (nobody)."""
        await self._require_somebody("account", account)
        decide = self._desk.freeze if frozen else self._desk.release
        return (await decide(case_id, account, f"{reason} (by {operator})")).applied

    async def claw_back(self, case_id: str, provider: str, amount_atoms: int, to_user: str, operator: str) -> bool:
        """Proven fraud, back from the provider; to the user who was harmed, or to the platform. Raises InvalidField,
        KeyReused."""
        await self._require_somebody("provider_id", provider)
        if to_user:
            await self._require_somebody("to_account", to_user)
        return (await self._desk.claw_back(case_id, provider, amount_atoms, to_user, operator)).applied

    async def propose(self, ticket: str, account: str, amount_atoms: int, reason: str, operator: str) -> bool:
        """Raises InvalidField, KeyReused."""
        await self._require_owner(account)
        proposal = rules.adjustment_proposed(ticket, account, amount_atoms, reason, operator, self._clock.now_ms())
        return (await self._ledger.post(proposal)).applied

    async def approve(self, ticket: str, operator: str) -> bool:
        """Raises Forbidden for who proposed it and above the day's cap, InsufficientCredits, WrongState."""
        return (await self._desk.approve_adjustment(ticket, operator)).applied

    async def reject(self, ticket: str, operator: str) -> bool:
        """Raises WrongState for one that is booked, or that nobody proposed."""
        now_ms = self._clock.now_ms()
        return (
            await self._desk.post_about(
                records.ADJUSTMENT, ticket, lambda proposal: rules.adjustment_rejected(proposal, operator, now_ms)
            )
        ).applied

    async def resolve(self, txn_id: str, account: str, operator: str) -> bool:
        """Book an unexplained movement to whom it belongs. Raises InvalidField, WrongState, InsufficientCredits."""
        await self._require_owner(account)
        now_ms = self._clock.now_ms()
        return (
            await self._desk.post_about(
                records.UNMATCHED,
                txn_id,
                lambda movement: rules.unmatched_resolved(movement, account, operator, now_ms),
            )
        ).applied

    async def halt_payouts(self, reason: str, operator: str) -> bool:
        """No payout is initiated or transferred from now on. Whether this call did it: they may be halted already."""
        breaker = await self._ledger.find_record(records.BREAKER, records.PAYOUTS)
        if breaker is not None and breaker.state == "HALTED":
            return False
        halted = rules.payouts_halted(breaker, reason, operator, self._clock.now_ms())
        return (await self._ledger.post(halted)).applied

    async def resume_payouts(self, operator: str) -> bool:
        """Somebody has looked: payouts go on. Whether this call did it: they may not be halted."""
        breaker = await self._ledger.find_record(records.BREAKER, records.PAYOUTS)
        if breaker is None or breaker.state != "HALTED":
            return False
        return (await self._ledger.post(rules.payouts_resumed(breaker, operator, self._clock.now_ms()))).applied

    async def close_alert(self, alert_id: str, operator: str) -> bool:
        """Somebody has looked. Raises WrongState if there is none."""
        alert = await self._ledger.find_record(records.ALERT, alert_id)
        if alert is None:
            raise WrongState(f"there is no alert {alert_id}", kind=records.ALERT, id=alert_id, state="ABSENT")
        if alert.state == "CLOSED":
            return False
        closed = Record(alert.kind, alert.id, "CLOSED", {**alert.fields, "closed_by": operator})
        return (await self._ledger.post(rules.noted(alert, closed, self._clock.now_ms()))).applied

    async def _require_owner(self, ledger_account: str) -> None:
        kind, _, name = ledger_account.partition(":")
        if kind in ("U", "P"):
            await self._require_somebody("ledger_account", name)

    async def _require_somebody(self, field: str, account: str) -> None:
        """Whoever has a key, or anything in the journal: money booked to a name that was mistyped is nobody's."""
        if await self._has_key(account):
            return
        if not (
            await self._ledger.user_statement(account, limit=1)
            or await self._ledger.provider_statement(account, limit=1)
        ):
            raise InvalidField(field, f"must be somebody: {account} has no key and nothing in the ledger")
