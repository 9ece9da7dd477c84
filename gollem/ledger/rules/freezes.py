"""Users who may open no holds for a while, and why: each reason is lifted by itself, and the last one makes active.

A reason is the name of a freeze, or `dispute.` and that of a dispute. One record a user keeps those that are open, so
that a dispute that is won does not free somebody whom an operator has frozen for fraud. Whoever changes them has read
them, and is refused (StaleRead, WrongState) if somebody else was faster.
"""

from gollem.errors import WrongState
from gollem.ledger import records
from gollem.ledger.accounts import user_debt
from gollem.ledger.rules.parts import digest, require_names
from gollem.ledger.types import (
    BalanceIs,
    Effect,
    Guard,
    Kind,
    PutRecord,
    Record,
    RecordIs,
    SetUserActive,
    Transaction,
    UpdateRecord,
)

MAX_REASONS = 15  # as many of the longest as fit into a field
MORE = "and-more"  # stands for those beyond; only a person lifts it


def user_frozen(freeze_id: str, user: str, freezes: Record | None, now_ms: int, reason: str = "") -> Transaction:
    """The user opens no holds while this or another freeze is open; open holds still settle. Key `freeze:{freeze_id}`.

    `freezes` is the user's record as just read."""
    require_names(freeze_id=freeze_id, user=user)
    guards, effects = freezes_changed(user, freezes, reasons_of(freezes) | {freeze_id})
    return Transaction(
        key=f"freeze:{freeze_id}",
        kind=Kind.USER_FROZEN,
        legs=(),
        fingerprint=digest("freeze", user),
        at_ms=now_ms,
        guards=guards,
        effects=effects,
        detail=reason,
    )


def user_unfrozen(freeze_id: str, user: str, freezes: Record | None, now_ms: int, reason: str = "") -> Transaction:
    """That freeze, or a dispute's (`dispute_freeze`), is over. Key `unfreeze:{freeze_id}`. Raises WrongState if it is
    not open. The last one is refused (StaleRead) while the user owes anything: a purchase repays it.

    `freezes` is the user's record as just read."""
    require_names(freeze_id=freeze_id, user=user)
    reasons = reasons_of(freezes)
    if freeze_id not in reasons:
        raise WrongState(f"{user} is not frozen by {freeze_id}", kind=records.FREEZES, id=user, state="ABSENT")
    return _unfrozen(freeze_id, user, freezes, reasons - {freeze_id}, now_ms, reason)


def user_released(case_id: str, user: str, freezes: Record | None, now_ms: int, reason: str = "") -> Transaction:
    """A person has decided that nothing freezes the user any more. Key `unfreeze:{case_id}`. Refused (StaleRead) while
    the user owes anything.

    `freezes` is the user's record as just read."""
    require_names(case_id=case_id, user=user)
    return _unfrozen(case_id, user, freezes, frozenset(), now_ms, reason)


def _unfrozen(
    name: str, user: str, freezes: Record | None, left: frozenset[str], now_ms: int, reason: str
) -> Transaction:
    guards, effects = freezes_changed(user, freezes, left)
    return Transaction(
        key=f"unfreeze:{name}",
        kind=Kind.USER_UNFROZEN,
        legs=(),
        fingerprint=unfreeze_fingerprint(user),
        at_ms=now_ms,
        guards=guards if left else (*guards, BalanceIs(user_debt(user), 0)),
        effects=effects,
        detail=reason,
    )


def dispute_freeze(dispute_id: str) -> str:
    """The name of the freeze that comes with a dispute; an inquiry into the same payment may have its own."""
    return f"dispute.{dispute_id}"


def unfreeze_fingerprint(user: str) -> str:
    return digest("unfreeze", user)


def reasons_of(freezes: Record | None) -> frozenset[str]:
    """The names of what keeps the user frozen."""
    return frozenset(freezes.text("reasons").split()) if freezes else frozenset()


def freezes_changed(
    user: str, known: Record | None, reasons: frozenset[str]
) -> tuple[tuple[Guard, ...], tuple[Effect, ...]]:
    """The guards and effects that make these the user's reasons, of what was read."""
    if len(reasons) > MAX_REASONS:
        reasons = frozenset([MORE, *sorted(reasons - {MORE})[: MAX_REASONS - 1]])
    fields: dict[str, str | int] = {
        "version": known.number("version") + 1 if known else 0,
        "reasons": " ".join(sorted(reasons)),
    }
    new = Record(records.FREEZES, user, "FROZEN" if reasons else "ACTIVE", fields)
    active = SetUserActive(user, active=not reasons)
    if known is None:
        return (), (PutRecord(new), active)
    same = RecordIs(known.kind, known.id, (known.state,), {"version": known.number("version")})
    return (same,), (UpdateRecord(new.kind, new.id, new.state, new.fields), active)
