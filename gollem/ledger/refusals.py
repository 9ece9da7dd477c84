"""Why a transaction is refused, in the same words and the same order from every backend. Pure."""

from typing import Protocol

from gollem.errors import (
    AccountFrozen,
    HoldClosed,
    InsufficientCredits,
    InvariantBroken,
    KeyReused,
    StaleRead,
    WrongState,
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
    OpenHold,
    Posted,
    PutRecord,
    Record,
    RecordIs,
    ReduceHold,
    Transaction,
    UserActive,
)
from gollem.units import format_fixed


class View(Protocol):
    """What a store has, before the transaction."""

    def balance_atoms(self, account: str) -> int:
        """0 if the account was never used."""

    def is_active(self, user: str) -> bool:
        """True if the user is not known."""

    def hold(self, order_id: str) -> Hold | None: ...

    def record(self, kind: str, record_id: str) -> Record | None: ...


class Refused(Exception):
    """A store's condition did not hold; `require` says which. Never leaves the ledger."""


def require(transaction: Transaction, view: View) -> None:
    """Raises what the first guard says that does not hold, then what the first effect says that cannot be."""
    for guard in transaction.guards:
        _require_guard(guard, view)
    for effect in transaction.effects:
        _require_effect(effect, view)


def replayed(first: Entry, fingerprint: str) -> Posted:
    """The answer to a key that the journal has already. Raises KeyReused."""
    if first.fingerprint != fingerprint:
        raise KeyReused(f"{first.key} was used before for something else", key=first.key)
    return Posted(applied=False, entry=first)


def _require_guard(guard: Guard, view: View) -> None:
    match guard:
        case UserActive(user):
            if not view.is_active(user):
                raise AccountFrozen(f"the account {user} may not open holds", account=user)
        case AvailableAtLeast(account, atoms):
            _require_available(atoms, view.balance_atoms(account))
        case BalanceIs(account, atoms):
            if view.balance_atoms(account) != atoms:
                raise StaleRead(f"{account} has changed meanwhile", what=account)
        case HoldOpen(order_id):
            hold = view.hold(order_id)
            if not _meets(hold, guard):
                raise _hold_closed(order_id, hold)
        case RecordIs(kind, record_id):
            _require_record(guard, view.record(kind, record_id))


def _require_available(needed_atoms: int, available_atoms: int) -> None:
    if available_atoms < needed_atoms:
        needed, available = format_fixed(needed_atoms), format_fixed(available_atoms)
        raise InsufficientCredits(
            f"{needed} credits are needed, {available} are there", needed=needed, available=available
        )


def _meets(hold: Hold | None, guard: HoldOpen) -> bool:
    """Whether the hold, if there is one, is as its guard wants it."""
    if hold is None or hold.state is not HoldState.OPEN:
        return False
    if (hold.remaining_atoms, hold.fence, hold.sequence) != (guard.remaining_atoms, guard.fence, guard.sequence):
        return False
    return guard.expired_by_ms is None or hold.expires_at_ms <= guard.expired_by_ms


def _hold_closed(order_id: str, hold: Hold | None) -> HoldClosed:
    """Also for a hold that is open, but not as the guard wants it: another amount or fence, or not yet expired."""
    state = hold.state.value if hold else "ABSENT"
    return HoldClosed(
        f"the hold of order {order_id} is {state} and cannot be closed so", order_id=order_id, state=state
    )


def _require_record(guard: RecordIs, record: Record | None) -> None:
    if record is None and ABSENT in guard.states:
        return
    if record is None or record.state not in guard.states:
        raise _wrong_state(guard.kind, guard.id, record)
    for name, value in guard.equals.items():
        if record.fields.get(name) != value:
            raise StaleRead(f"{name} of {guard.kind} {guard.id} has changed meanwhile", what=f"{guard.kind} {guard.id}")


def _wrong_state(kind: str, record_id: str, record: Record | None) -> WrongState:
    state = record.state if record else "ABSENT"
    return WrongState(f"{kind} {record_id} is {state}", kind=kind, id=record_id, state=state)


def _require_effect(effect: Effect, view: View) -> None:
    match effect:
        case PutRecord(new):
            record = view.record(new.kind, new.id)
            if record is not None:
                raise _wrong_state(new.kind, new.id, record)
        case OpenHold(new_hold):
            if view.hold(new_hold.order_id) is not None:
                raise InvariantBroken(f"order {new_hold.order_id} has a hold already")
        case ReduceHold(order_id, user) | CloseHold(order_id, user):
            hold = view.hold(order_id)
            if hold is None or hold.user != user:
                raise InvariantBroken(f"the hold of order {order_id} is of another user")
