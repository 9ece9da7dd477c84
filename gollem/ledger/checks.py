"""What every transaction must be before any store is touched. Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from gollem.errors import InvariantBroken
from gollem.ledger.accounts import (
    Bounds,
    bounds,
    hold_account,
    hold_key,
    is_debt,
    is_hold,
    is_well_formed,
    user_account,
)
from gollem.ledger.types import (
    ABSENT,
    AvailableAtLeast,
    BalanceIs,
    CloseHold,
    Effect,
    Entry,
    Guard,
    Hold,
    HoldOpen,
    HoldState,
    Leg,
    OpenHold,
    PutRecord,
    RecordIs,
    ReduceHold,
    SetUserActive,
    Transaction,
    UpdateRecord,
    UserActive,
)
from gollem.units import MAX_ATOMS

MAX_LEGS = 64  # a power of two: stores number a leg by its entry's sequence and its place
MAX_TEXT_CHARS = 65_536
MAX_FIELDS = 32
_MAX_KEY_CHARS = 256
_MAX_FIELD_CHARS = 1_024
_T = TypeVar("_T")
# Tuples, because a union is built anew wherever it is written, and this is every order's way.
_OF_BALANCES = (AvailableAtLeast, BalanceIs)
_SHRINKING = (ReduceHold, CloseHold)
_OF_RECORDS = (PutRecord, UpdateRecord)
_UNSTORABLE = f"a text is Unicode of at most {MAX_TEXT_CHARS} characters"


def check(transaction: Transaction) -> None:
    """Raises InvariantBroken unless the transaction balances, stays in range, and moves nothing towards its bound
    without a guard."""
    broken = (
        _broken_texts(transaction)
        or _broken_legs(transaction)
        or _broken_names(transaction)
        or _broken_holds(transaction)
        or _broken_records(transaction)
        or _broken_moves(transaction)
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
    legs, total_atoms = transaction.legs, 0
    for leg in legs:
        amount = leg.amount_atoms
        if type(amount) is not int or not 0 < abs(amount) < MAX_ATOMS:
            return f"{leg.account}: {amount!r} atoms: must be an integer, not 0, and within 62 bits"
        if not is_well_formed(leg.account):
            return f"{leg.account!r} is no account"
        total_atoms += amount
    if total_atoms:
        return f"its legs sum to {total_atoms} atoms, not to 0"
    if not legs and transaction.effects:
        return None  # it changes records or a user's state only: a hold's effect needs its leg
    if not 2 <= len(legs) <= MAX_LEGS:
        return f"a transaction has 2 to {MAX_LEGS} legs"
    if len({leg.account for leg in legs}) != len(legs):
        return "an account may have one leg only"
    return None


def _broken_names(transaction: Transaction) -> str | None:
    """Each guard and effect speaks of something by name, and no two of a type of the same."""
    for guard in transaction.guards:
        if isinstance(guard, _OF_BALANCES) and (
            is_hold(guard.account) or not is_well_formed(guard.account) or abs(guard.atoms) >= MAX_ATOMS
        ):
            return f"{guard.account!r} cannot be guarded so"
    guards = transaction.guards
    one_of_each_type = len(set(map(type, guards))) == len(guards)  # as every order has them: a quick look will do
    if not one_of_each_type and _has_twins(guards, _name_of_guard):
        return "two guards of a type on one thing"
    if _has_twins(transaction.effects, _name_of_effect):
        return "two effects on one thing"
    return None


def _has_twins(things: tuple[_T, ...], name: Callable[[_T], tuple[str, ...]]) -> bool:
    if len(things) < 2:
        return False
    return len({name(thing) for thing in things}) != len(things)


def _name_of_guard(guard: Guard) -> tuple[str, ...]:
    """Guards of two types may be about one thing."""
    if isinstance(guard, AvailableAtLeast):
        return ("at least", guard.account)
    if isinstance(guard, BalanceIs):
        return ("exactly", guard.account)
    if isinstance(guard, UserActive):
        return ("active", guard.user)
    return ("hold", guard.order_id) if isinstance(guard, HoldOpen) else ("record", guard.kind, guard.id)


def _name_of_effect(effect: Effect) -> tuple[str, ...]:
    """Effects of any types on one thing are one too many."""
    if isinstance(effect, PutRecord):
        return ("record", effect.record.kind, effect.record.id)
    if isinstance(effect, UpdateRecord):
        return ("record", effect.kind, effect.id)
    if isinstance(effect, SetUserActive):
        return ("user", effect.user)
    return ("hold", effect.hold.order_id if isinstance(effect, OpenHold) else effect.order_id)


def _broken_holds(transaction: Transaction) -> str | None:
    """Escrow moves with its hold, and a hold with its escrow."""
    escrow = {leg.account: leg.amount_atoms for leg in transaction.legs if is_hold(leg.account)}
    guards = {guard.order_id: guard for guard in transaction.guards if isinstance(guard, HoldOpen)}
    for effect in transaction.effects:
        if isinstance(effect, OpenHold):
            broken = _broken_new_hold(effect.hold, transaction.key)
            account, expected = hold_account(effect.hold.order_id), effect.hold.amount_atoms
        elif isinstance(effect, _SHRINKING):
            broken = _broken_change(effect, guards.pop(effect.order_id, None))
            account, expected = hold_account(effect.order_id), -_taken_atoms(effect)
        else:
            continue
        if broken:
            return broken
        if escrow.pop(account, None) != expected:
            return f"{account}: its leg is not what its hold says"
    if guards:
        return "a hold is guarded that does not change"
    return "escrow moves without its hold" if escrow else None


def _broken_new_hold(hold: Hold, key: str) -> str | None:
    if key != hold_key(hold.order_id):
        return "a hold is opened under the key of its order"
    if hold.state is not HoldState.OPEN or hold.amount_atoms <= 0 or hold.settled_atoms or hold.sequence:
        return "a new hold is open and whole, and not empty"
    if not is_well_formed(user_account(hold.provider)):
        return f"{hold.provider!r} is no provider"
    if not all(0 <= number < MAX_ATOMS for number in (hold.opened_at_ms, hold.expires_at_ms, hold.fence)):
        return "a figure of the hold is out of range"
    return None if _is_storable(hold.terms) else _UNSTORABLE


def _broken_change(effect: ReduceHold | CloseHold, guard: HoldOpen | None) -> str | None:
    if guard is None:
        return "changing a hold needs its guard"
    if isinstance(effect, CloseHold):
        if effect.state is HoldState.OPEN:
            return "a hold is closed to a final state"
        return None if guard.remaining_atoms == effect.amount_atoms else "a hold is closed as a whole"
    return None if 0 < _taken_atoms(effect) < guard.remaining_atoms else "a part is less than the whole"


def _taken_atoms(effect: ReduceHold | CloseHold) -> int:
    return effect.amount_atoms if isinstance(effect, CloseHold) else effect.atoms


def _broken_records(transaction: Transaction) -> str | None:
    if not any(map(_is_about_records, transaction.effects)):
        return None
    guards = [guard for guard in transaction.guards if isinstance(guard, RecordIs)]
    guarded = [(guard.kind, guard.id) for guard in guards]
    there = [(guard.kind, guard.id) for guard in guards if ABSENT not in guard.states]
    for effect in transaction.effects:
        if isinstance(effect, PutRecord):
            record = effect.record
            if (record.kind, record.id) in guarded:
                return "a new record has no guard"
            broken = _broken_fields((record.kind, record.id, record.state), record.fields)
        elif isinstance(effect, UpdateRecord):
            if (effect.kind, effect.id) not in there:
                return "changing a record needs a guard that it is there"
            broken = _broken_fields((effect.kind, effect.id), effect.fields)
        else:
            continue
        if broken:
            return broken
    return None


def _is_about_records(effect: Effect) -> bool:
    return isinstance(effect, _OF_RECORDS)


def _broken_fields(names: Iterable[str], fields: Mapping[str, str | int]) -> str | None:
    if not all(0 < len(name) <= _MAX_KEY_CHARS and name.isascii() and name.isprintable() for name in names):
        return "a record's kind, id and state are printable ASCII"
    if len(fields) > MAX_FIELDS:
        return f"a record has at most {MAX_FIELDS} fields"
    for name, value in fields.items():
        if not name.isidentifier():
            return f"{name!r} is no name of a field"
        if type(value) is int and abs(value) < MAX_ATOMS:
            continue
        if type(value) is not str or len(value) > _MAX_FIELD_CHARS or not _is_storable(value):
            return f"{name}: a field is a short text or an integer within 62 bits"
    return None


def _broken_moves(transaction: Transaction) -> str | None:
    """What somebody owns is debited under a guard, what somebody owes is credited under one, escrow with its hold."""
    for leg in transaction.legs:
        account = leg.account
        if is_debt(account) != (leg.amount_atoms > 0) or is_hold(account):
            continue
        bound = bounds(account)
        if bound is Bounds.CREDIT_ONLY:
            return f"{account} is only ever credited"
        if bound is not Bounds.FREE and not _is_covered(leg, transaction.guards):
            return f"{account} is moved towards its bound without a guard"
    return None


def _is_covered(leg: Leg, guards: tuple[Guard, ...]) -> bool:
    """Whether the account stays within its bound if one of the guards holds."""
    for guard in guards:
        if isinstance(guard, _OF_BALANCES) and guard.account == leg.account:
            left_atoms = guard.atoms + leg.amount_atoms
            if leg.amount_atoms < 0 and left_atoms >= 0:
                return True
            if leg.amount_atoms > 0 and left_atoms <= 0 and isinstance(guard, BalanceIs):
                return True
    return False


# --- what backends share --------------------------------------------------------------------------------------------


def leg_number(sequence: int, place: int) -> int:
    """Orders all legs of the journal."""
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
