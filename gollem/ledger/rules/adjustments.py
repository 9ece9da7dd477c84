"""Corrections by hand: one person proposes, another approves, and no day sees more of them than its cap."""

from gollem.clock import utc_day
from gollem.errors import Forbidden, InvalidField
from gollem.ledger import records
from gollem.ledger.accounts import ADJUSTMENTS
from gollem.ledger.rules.parts import digest, if_there, require_adjustable, require_kind, require_names
from gollem.ledger.types import (
    Effect,
    Guard,
    Kind,
    Leg,
    PutRecord,
    Record,
    RecordIs,
    Transaction,
    UpdateRecord,
)
from gollem.units import MAX_ATOMS, format_fixed

REASONS = frozenset({"correction", "goodwill", "sla", "fraud", "reconciliation", "test"})


def adjustment_proposed(
    ticket: str, account: str, amount_atoms: int, reason: str, proposer: str, now_ms: int
) -> Transaction:
    """What somebody wants an account to gain, or lose if negative; no money moves. Key `adj_proposed:{ticket}`. Raises
    InvalidField."""
    require_names(ticket=ticket, proposer=proposer)
    require_adjustable(account, other_than=ADJUSTMENTS)
    if type(amount_atoms) is not int or not 0 < abs(amount_atoms) < MAX_ATOMS:
        raise InvalidField("amount", "must not be 0")
    if reason not in REASONS:
        raise InvalidField("reason", f"must be one of {', '.join(sorted(REASONS))}")
    fields: dict[str, str | int] = {
        "account": account,
        "amount_atoms": amount_atoms,
        "reason": reason,
        "proposer": proposer,
    }
    return Transaction(
        key=f"adj_proposed:{ticket}",
        kind=Kind.ADJUSTMENT_PROPOSED,
        legs=(),
        fingerprint=digest("adj_proposed", account, amount_atoms, reason, proposer),
        at_ms=now_ms,
        effects=(PutRecord(Record(records.ADJUSTMENT, ticket, "PROPOSED", fields)),),
        detail=reason,
    )


def adjustment_approved(
    proposal: Record, approver: str, today: Record | None, cap_atoms: int, now_ms: int
) -> Transaction:
    """The adjustment, approved by somebody else than proposed it. Key `adj:{ticket}`.

    `today` is the record of what was adjusted on this UTC day, as just read, or None. Raises Forbidden for one and the
    same person, and above the day's cap."""
    require_kind(proposal, records.ADJUSTMENT)
    require_names(approver=approver)
    account, amount_atoms = proposal.text("account"), proposal.number("amount_atoms")
    if approver == proposal.text("proposer"):
        raise Forbidden("an adjustment is approved by somebody else than proposed it", ticket=proposal.id)
    counted, count = _counted(today, abs(amount_atoms), cap_atoms, utc_day(now_ms))
    return Transaction(
        key=f"adj:{proposal.id}",
        kind=Kind.ADJUSTMENT,
        legs=(Leg(ADJUSTMENTS, -amount_atoms), Leg(account, amount_atoms)),
        fingerprint=adjustment_fingerprint(proposal.id),
        at_ms=now_ms,
        guards=(
            RecordIs(records.ADJUSTMENT, proposal.id, ("PROPOSED",), proposal.fields),
            *counted,
            *if_there(account, amount_atoms),
        ),
        effects=(UpdateRecord(records.ADJUSTMENT, proposal.id, "APPROVED", {"approver": approver}), count),
        detail=f"{proposal.text('reason')}, proposed by {proposal.text('proposer')}, approved by {approver}",
    )


def adjustment_rejected(proposal: Record, operator: str, now_ms: int) -> Transaction:
    """It will not be booked; who proposed it may say so too. Key `adj_rejected:{ticket}`."""
    require_kind(proposal, records.ADJUSTMENT)
    require_names(operator=operator)
    return Transaction(
        key=f"adj_rejected:{proposal.id}",
        kind=Kind.NOTE,
        legs=(),
        fingerprint=digest("adj_rejected", proposal.id),
        at_ms=now_ms,
        guards=(RecordIs(records.ADJUSTMENT, proposal.id, ("PROPOSED",)),),
        effects=(UpdateRecord(records.ADJUSTMENT, proposal.id, "REJECTED", {"rejected_by": operator}),),
        detail=operator,
    )


def adjustment_fingerprint(ticket: str) -> str:
    """Of the ticket alone: a proposal never changes."""
    return digest("adj", ticket)


def _counted(today: Record | None, more_atoms: int, cap_atoms: int, day: str) -> tuple[tuple[Guard, ...], Effect]:
    """That the day's sum is as it was read, and the sum with this adjustment."""
    before_atoms = today.number("atoms") if today else 0
    if before_atoms + more_atoms > cap_atoms:
        left = format_fixed(max(0, cap_atoms - before_atoms))
        raise Forbidden(f"today's adjustments may move {left} credits more", left=left, day=day)
    total = {"atoms": before_atoms + more_atoms}
    if today is None:
        return (), PutRecord(Record(records.ADJUSTED_DAY, day, "COUNTED", total))
    guard = RecordIs(records.ADJUSTED_DAY, day, ("COUNTED",), {"atoms": before_atoms})
    return (guard,), UpdateRecord(records.ADJUSTED_DAY, day, None, total)
