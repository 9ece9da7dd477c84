"""What each type of transaction is: pure builders, their legs, guards and effects. Nothing else makes transactions.

All amounts are atoms; `now_ms` is the caller's clock. Builders raise InvariantBroken for figures that the callers
should have refused long before.
"""

from hashlib import blake2b

from gollem.errors import InvariantBroken
from gollem.ledger.accounts import PROMO, earnings_account, fee_account, hold_account, user_account
from gollem.ledger.types import (
    AvailableAtLeast,
    CloseHold,
    Hold,
    HoldOpen,
    HoldState,
    Kind,
    Leg,
    OpenHold,
    Transaction,
    UserActive,
)


def grant(grant_id: str, user: str, amount_atoms: int, now_ms: int, detail: str = "") -> Transaction:
    """Credits given by an operator. Key `grant:{grant_id}`."""
    if amount_atoms <= 0:
        raise InvariantBroken(f"grant {grant_id}: {amount_atoms} atoms, must be positive")
    return Transaction(
        key=f"grant:{grant_id}",
        kind=Kind.GRANT,
        legs=(Leg(PROMO, -amount_atoms), Leg(user_account(user), amount_atoms)),
        fingerprint=digest("grant", user, amount_atoms),
        at_ms=now_ms,
        detail=detail,
    )


def hold(hold: Hold, fingerprint: str, now_ms: int) -> Transaction:
    """The worst-case cost into escrow. Key `hold:{order_id}`.

    The fingerprint is the caller's, of what was asked and not of what was found: a bid sent again may match another
    ask, and is to be answered by the first."""
    amount = hold.amount_atoms
    if amount <= 0 or hold.state is not HoldState.OPEN:
        raise InvariantBroken(f"hold {hold.order_id}: {amount} atoms, {hold.state}; must be positive and open")
    return Transaction(
        key=f"hold:{hold.order_id}",
        kind=Kind.HOLD,
        legs=(Leg(user_account(hold.user), -amount), Leg(hold_account(hold.order_id), amount)),
        fingerprint=fingerprint,
        at_ms=now_ms,
        guards=(UserActive(hold.user), AvailableAtLeast(user_account(hold.user), amount)),
        effects=(OpenHold(hold),),
        order_id=hold.order_id,
    )


def settle(
    hold: Hold, usage_atoms: int, fee_atoms: int, now_ms: int, detail: str = "", fingerprint: str = ""
) -> Transaction:
    """The hold into the provider's share, the fee and the refund. Key `settle:{order_id}`."""
    if not 0 <= fee_atoms <= usage_atoms <= hold.amount_atoms:
        raise InvariantBroken(
            f"settle {hold.order_id}: must be 0 <= fee {fee_atoms} <= usage {usage_atoms} <= hold {hold.amount_atoms}"
        )
    order_id = hold.order_id
    legs = (
        Leg(hold_account(order_id), -hold.amount_atoms),
        Leg(earnings_account(hold.provider, order_id, now_ms), usage_atoms - fee_atoms),
        Leg(fee_account(order_id), fee_atoms),
        Leg(user_account(hold.user), hold.amount_atoms - usage_atoms),
    )
    return Transaction(
        key=f"settle:{order_id}",
        kind=Kind.SETTLE,
        legs=tuple(leg for leg in legs if leg.amount_atoms),
        fingerprint=fingerprint or digest("settle", hold.provider, usage_atoms, fee_atoms),
        at_ms=now_ms,
        guards=(HoldOpen(order_id, hold.amount_atoms, hold.fence),),
        effects=(CloseHold(order_id, hold.user, hold.amount_atoms, HoldState.SETTLED),),
        order_id=order_id,
        detail=detail,
    )


def void(hold: Hold, now_ms: int, detail: str = "") -> Transaction:
    """All of the hold back to the user. Key `void:{order_id}`, which an expiry shares."""
    return _give_back(hold, Kind.VOID, HoldState.VOIDED, now_ms, None, detail)


def expire(hold: Hold, now_ms: int) -> Transaction:
    """As `void`, but refused before the hold's deadline. Whichever comes first answers for both."""
    return _give_back(hold, Kind.EXPIRE, HoldState.EXPIRED, now_ms, now_ms, "")


def digest(*parts: object) -> str:
    """A stable fingerprint of what matters."""
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def _give_back(
    hold: Hold, kind: Kind, state: HoldState, now_ms: int, expired_by_ms: int | None, detail: str
) -> Transaction:
    order_id, amount = hold.order_id, hold.amount_atoms
    return Transaction(
        key=f"void:{order_id}",
        kind=kind,
        legs=(Leg(hold_account(order_id), -amount), Leg(user_account(hold.user), amount)),
        fingerprint=digest("void", hold.user, amount),
        at_ms=now_ms,
        guards=(HoldOpen(order_id, amount, hold.fence, expired_by_ms),),
        effects=(CloseHold(order_id, hold.user, amount, state),),
        order_id=order_id,
        detail=detail,
    )
