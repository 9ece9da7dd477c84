"""An order's escrow: opened by its match, closed by exactly one of settlement, void and expiry."""

from gollem.errors import InvariantBroken
from gollem.ledger.accounts import earnings_account, fee_account, hold_account, hold_key, user_account
from gollem.ledger.audit import hold_digest
from gollem.ledger.rules.parts import digest
from gollem.ledger.types import (
    AvailableAtLeast,
    CloseHold,
    Hold,
    HoldOpen,
    HoldState,
    Kind,
    Leg,
    OpenHold,
    ReduceHold,
    Transaction,
    UserActive,
)


def hold(hold: Hold, fingerprint: str, now_ms: int) -> Transaction:
    """The worst-case cost into escrow. Key `hold:{order_id}`.

    The fingerprint is the caller's, of what was asked and not of what was found: a bid sent again may match another
    ask, and is to be answered by the first."""
    amount = hold.amount_atoms
    if amount <= 0 or hold.state is not HoldState.OPEN:
        raise InvariantBroken(f"hold {hold.order_id}: {amount} atoms, {hold.state}; must be positive and open")
    return Transaction(
        key=hold_key(hold.order_id),
        kind=Kind.HOLD,
        legs=(Leg(user_account(hold.user), -amount), Leg(hold_account(hold.order_id), amount)),
        fingerprint=fingerprint,
        at_ms=now_ms,
        guards=(UserActive(hold.user), AvailableAtLeast(user_account(hold.user), amount)),
        effects=(OpenHold(hold),),
        order_id=hold.order_id,
        detail=hold_digest(hold),
    )


def partial_settle(hold: Hold, usage_atoms: int, fee_atoms: int, now_ms: int, detail: str = "") -> Transaction:
    """A part of the hold into the provider's share and the fee; the rest stays open. Less than what remains.

    Key `psettle:{order_id}:{n}`, the n-th of this hold; `hold` is as it was before."""
    rest = hold.rest_atoms
    if not 0 <= fee_atoms <= usage_atoms or not 0 < usage_atoms < rest:
        raise InvariantBroken(
            f"partial settle {hold.order_id}: must be 0 <= fee {fee_atoms} <= usage {usage_atoms} < rest {rest}"
        )
    order_id, number = hold.order_id, hold.sequence + 1
    legs = (Leg(hold_account(order_id), -usage_atoms), *_earned(hold, usage_atoms, fee_atoms, now_ms))
    return Transaction(
        key=f"psettle:{order_id}:{number}",
        kind=Kind.PARTIAL_SETTLE,
        legs=tuple(leg for leg in legs if leg.amount_atoms),
        fingerprint=digest("psettle", hold.provider, usage_atoms, fee_atoms),
        at_ms=now_ms,
        guards=(_is_open(hold),),
        effects=(ReduceHold(order_id, hold.user, usage_atoms),),
        order_id=order_id,
        detail=detail,
    )


def settle(
    hold: Hold, usage_atoms: int, fee_atoms: int, now_ms: int, detail: str = "", fingerprint: str = ""
) -> Transaction:
    """What remains of the hold into the provider's share, the fee and the refund. Key `settle:{order_id}`.

    `usage_atoms` is without what partial settlements took."""
    rest = hold.rest_atoms
    if not 0 <= fee_atoms <= usage_atoms <= rest:
        raise InvariantBroken(
            f"settle {hold.order_id}: must be 0 <= fee {fee_atoms} <= usage {usage_atoms} <= rest {rest}"
        )
    order_id = hold.order_id
    legs = (
        Leg(hold_account(order_id), -rest),
        *_earned(hold, usage_atoms, fee_atoms, now_ms),
        Leg(user_account(hold.user), rest - usage_atoms),
    )
    return Transaction(
        key=f"settle:{order_id}",
        kind=Kind.SETTLE,
        legs=tuple(leg for leg in legs if leg.amount_atoms),
        fingerprint=fingerprint or digest("settle", hold.provider, usage_atoms, fee_atoms),
        at_ms=now_ms,
        guards=(_is_open(hold),),
        effects=(CloseHold(order_id, hold.user, rest, HoldState.SETTLED),),
        order_id=order_id,
        detail=detail,
    )


def void(hold: Hold, now_ms: int, detail: str = "") -> Transaction:
    """What remains of the hold back to the user. Key `void:{order_id}`, which an expiry shares."""
    return _give_back(hold, Kind.VOID, HoldState.VOIDED, now_ms, None, detail)


def expire(hold: Hold, now_ms: int) -> Transaction:
    """As `void`, but refused before the hold's deadline. Whichever comes first answers for both."""
    return _give_back(hold, Kind.EXPIRE, HoldState.EXPIRED, now_ms, now_ms, "")


def _give_back(
    hold: Hold, kind: Kind, state: HoldState, now_ms: int, expired_by_ms: int | None, detail: str
) -> Transaction:
    order_id, rest = hold.order_id, hold.rest_atoms
    return Transaction(
        key=f"void:{order_id}",
        kind=kind,
        legs=(Leg(hold_account(order_id), -rest), Leg(user_account(hold.user), rest)),
        fingerprint=digest("void", hold.user, hold.amount_atoms),
        at_ms=now_ms,
        guards=(_is_open(hold, expired_by_ms),),
        effects=(CloseHold(order_id, hold.user, rest, state),),
        order_id=order_id,
        detail=detail,
    )


def _is_open(hold: Hold, expired_by_ms: int | None = None) -> HoldOpen:
    return HoldOpen(hold.order_id, hold.rest_atoms, hold.fence, expired_by_ms, hold.sequence)


def _earned(hold: Hold, usage_atoms: int, fee_atoms: int, now_ms: int) -> tuple[Leg, Leg]:
    return (
        Leg(earnings_account(hold.provider, hold.order_id, now_ms), usage_atoms - fee_atoms),
        Leg(fee_account(hold.order_id), fee_atoms),
    )
