"""What every transaction must be before any store is touched, and what each refusal says. Pure."""

from gollem.errors import AccountFrozen, HoldClosed, InsufficientCredits, InvariantBroken, KeyReused
from gollem.ledger.accounts import hold_account, is_expense, is_hold, is_well_formed, user_account
from gollem.ledger.types import (
    AvailableAtLeast,
    CloseHold,
    Entry,
    Guard,
    Hold,
    HoldOpen,
    HoldState,
    Leg,
    OpenHold,
    Posted,
    Transaction,
)
from gollem.units import MAX_ATOMS, format_fixed

MAX_LEGS = 64  # a power of two: stores number a leg by its entry's sequence and its place
MAX_TEXT_CHARS = 65_536
_MAX_KEY_CHARS = 256
_UNSTORABLE = f"a text is Unicode of at most {MAX_TEXT_CHARS} characters"


def check(transaction: Transaction) -> None:
    """Raises InvariantBroken unless the transaction balances, stays in range, and debits nothing without a guard."""
    broken = (
        _broken_texts(transaction)
        or _broken_legs(transaction)
        or _broken_effects(transaction)
        or _broken_debits(transaction)
    )
    if broken:
        raise InvariantBroken(f"{transaction.key[:_MAX_KEY_CHARS]!r}: {broken}")


# Each says which rule is broken, or nothing.


def _broken_texts(transaction: Transaction) -> str | None:
    if not 0 < len(transaction.key) <= _MAX_KEY_CHARS:
        return f"a key has 1 to {_MAX_KEY_CHARS} characters"
    if not 0 <= transaction.at_ms < MAX_ATOMS:
        return "the time is out of range"
    if all(map(_is_storable, (transaction.key, transaction.fingerprint, transaction.order_id, transaction.detail))):
        return None
    return _UNSTORABLE


def _is_storable(text: str) -> bool:
    if len(text) > MAX_TEXT_CHARS:
        return False
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _broken_legs(transaction: Transaction) -> str | None:
    legs = transaction.legs
    for leg in legs:
        amount = leg.amount_atoms
        if type(amount) is not int or not 0 < abs(amount) < MAX_ATOMS:
            return f"{leg.account}: {amount!r} atoms: must be an integer, not 0, and within 62 bits"
        if not is_well_formed(leg.account):
            return f"{leg.account!r} is no account"
    total_atoms = sum(leg.amount_atoms for leg in legs)
    if total_atoms:
        return f"its legs sum to {total_atoms} atoms, not to 0"
    if not 2 <= len(legs) <= MAX_LEGS:
        return f"a transaction has 2 to {MAX_LEGS} legs"
    if len({leg.account for leg in legs}) != len(legs):
        return "an account may have one leg only"
    return None


def _broken_effects(transaction: Transaction) -> str | None:
    """Escrow moves with its hold, and a hold with its escrow."""
    escrow = {leg.account: leg.amount_atoms for leg in transaction.legs if is_hold(leg.account)}
    for effect in transaction.effects:
        if isinstance(effect, OpenHold):
            broken = _broken_new_hold(effect.hold)
            account, expected = hold_account(effect.hold.order_id), effect.hold.amount_atoms
        else:
            broken = _broken_closing(effect, transaction)
            account, expected = hold_account(effect.order_id), -effect.amount_atoms
        if broken:
            return broken
        if escrow.pop(account, None) != expected:
            return f"{account}: its leg is not what its hold says"
    return "escrow moves without its hold" if escrow else None


def _broken_new_hold(hold: Hold) -> str | None:
    if hold.state is not HoldState.OPEN or hold.amount_atoms <= 0:
        return "a new hold is open and not empty"
    if not is_well_formed(user_account(hold.provider)):
        return f"{hold.provider!r} is no provider"
    if not all(0 <= number < MAX_ATOMS for number in (hold.opened_at_ms, hold.expires_at_ms, hold.fence)):
        return "a figure of the hold is out of range"
    return None if _is_storable(hold.terms) else _UNSTORABLE


def _broken_closing(effect: CloseHold, transaction: Transaction) -> str | None:
    if effect.state is HoldState.OPEN:
        return "a hold is closed to a final state"
    for guard in transaction.guards:
        if isinstance(guard, HoldOpen) and guard.order_id == effect.order_id:
            return None if guard.amount_atoms == effect.amount_atoms else "a hold is closed as a whole"
    return f"closing the hold of {effect.order_id} needs its guard"


def _broken_debits(transaction: Transaction) -> str | None:
    """Users are debited under a guard, escrows with their hold, expenses freely, and nothing else at all."""
    for leg in transaction.legs:
        if leg.amount_atoms > 0 or is_hold(leg.account) or is_expense(leg.account):
            continue
        if not any(_covers(guard, leg) for guard in transaction.guards):
            return f"{leg.account} is debited without a guard"
    return None


def _covers(guard: Guard, debit: Leg) -> bool:
    if not isinstance(guard, AvailableAtLeast):
        return False
    return user_account(guard.user) == debit.account and guard.atoms >= -debit.amount_atoms


# --- what backends share --------------------------------------------------------------------------------------------


def leg_number(sequence: int, place: int) -> int:
    """Orders all legs of the journal: the cursor of statements."""
    return sequence * MAX_LEGS + place


def entry_of(transaction: Transaction, sequence: int) -> Entry:
    return Entry(
        sequence,
        transaction.key,
        transaction.kind,
        transaction.legs,
        transaction.fingerprint,
        transaction.at_ms,
        transaction.order_id,
        transaction.detail,
    )


def meets(hold: Hold | None, guard: HoldOpen) -> bool:
    """Whether the hold, if there is one, is as its guard wants it."""
    if hold is None or (hold.remaining_atoms, hold.fence) != (guard.amount_atoms, guard.fence):
        return False
    return guard.expired_by_ms is None or hold.expires_at_ms <= guard.expired_by_ms


# --- answers, in the same words from every backend ------------------------------------------------------------------


def replayed(first: Entry, transaction: Transaction) -> Posted:
    """The answer to a key that the journal has already. Raises KeyReused."""
    if first.fingerprint != transaction.fingerprint:
        raise KeyReused(f"{transaction.key} was used before for something else", key=transaction.key)
    return Posted(applied=False, entry=first)


def insufficient(needed_atoms: int, available_atoms: int) -> InsufficientCredits:
    needed, available = format_fixed(needed_atoms), format_fixed(available_atoms)
    return InsufficientCredits(
        f"{needed} credits are needed, {available} are there", needed=needed, available=available
    )


def frozen(user: str) -> AccountFrozen:
    return AccountFrozen(f"the account {user} may not open holds", account=user)


def hold_closed(order_id: str, hold: Hold | None) -> HoldClosed:
    """Also for a hold that is open, but not as the guard wants it: another amount or fence, or not yet expired."""
    state = hold.state.value if hold else "ABSENT"
    return HoldClosed(
        f"the hold of order {order_id} is {state} and cannot be closed so", order_id=order_id, state=state
    )
