"""Credits that are given."""

from gollem.ledger.accounts import PROMO, user_account
from gollem.ledger.rules.parts import digest, require_names, require_positive
from gollem.ledger.types import Kind, Leg, Transaction


def grant(grant_id: str, user: str, amount_atoms: int, now_ms: int, detail: str = "") -> Transaction:
    """Credits given by an operator. Key `grant:{grant_id}`."""
    require_positive(f"grant {grant_id}", amount_atoms)
    return Transaction(
        key=f"grant:{grant_id}",
        kind=Kind.GRANT,
        legs=(Leg(PROMO, -amount_atoms), Leg(user_account(user), amount_atoms)),
        fingerprint=digest("grant", user, amount_atoms),
        at_ms=now_ms,
        detail=detail,
    )


def promo(campaign: str, user: str, amount_atoms: int, now_ms: int) -> Transaction:
    """Credits of a campaign, once a user. Key `promo:{campaign}:{user}`.

    They join the user's other credits. They never become money: a card gets back at most what it paid, and is paid
    from what is left, so that given credits count as spent first."""
    require_names(campaign=campaign, user=user)
    require_positive(f"promo {campaign}", amount_atoms)
    return Transaction(
        key=f"promo:{campaign}:{user}",
        kind=Kind.PROMO,
        legs=(Leg(PROMO, -amount_atoms), Leg(user_account(user), amount_atoms)),
        fingerprint=digest("promo", amount_atoms),
        at_ms=now_ms,
    )
