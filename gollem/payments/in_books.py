"""What our books have of a movement at the payment provider, and how one that is not explained is kept."""

from dataclasses import dataclass

from gollem.ledger import Entry, Kind, Record, accounts
from gollem.payments.types import CURRENCY, Movement, MovementKind
from gollem.units import ATOMS_PER_CENT, format_usd

_REFUNDS = (MovementKind.REFUND, MovementKind.REFUND_FAILED)


@dataclass(frozen=True, slots=True)
class InBooks:
    """What the books have of a movement: `own` explains it, `mark` is the entry `stripe:{txn}`."""

    movement: Movement
    own: Entry | None
    mark: Entry | None
    more: tuple[Entry, ...]  # what goes with an unmatched one: its fee, and what became of it

    @property
    def is_unmatched(self) -> bool:
        return self.mark is not None and self.mark.kind is Kind.UNMATCHED

    @property
    def booked_atoms(self) -> int:
        """What came to the payment provider, by our books; negative: what left it."""
        entries = {entry.key: entry for entry in (self.own, self.mark, *self.more) if entry}
        return sum(stripe_atoms(entry) for entry in entries.values())

    @property
    def due_atoms(self) -> int:
        """What did. Of a refund that failed before it succeeded our books never let go: out and in come to nothing."""
        came_to_nothing = self.movement.kind in _REFUNDS and self.own and not stripe_atoms(self.own)
        cents = -self.movement.fee_cents if came_to_nothing else self.movement.net_cents
        return cents * ATOMS_PER_CENT

    @property
    def difference_atoms(self) -> int:
        return self.due_atoms - self.booked_atoms


def own_keys(movement: Movement) -> tuple[str, ...]:
    """Of the entry that explains it, the first that is there; none if that is `stripe:{txn}`."""
    source_id = movement.source_id
    match movement.kind:
        case MovementKind.CHARGE:
            return (f"purchase:{movement.payment_id}",)
        case MovementKind.REFUND:
            return (f"rf_ok:{source_id}", f"rf_fail:{source_id}")
        case MovementKind.REFUND_FAILED:
            return (f"rf_fail:{source_id}",)
        case MovementKind.TRANSFER:
            return (f"po_tr:{source_id}",)
        case MovementKind.TRANSFER_REVERSED:
            return (f"trr:{source_id}",)
    return ()


def stripe_atoms(entry: Entry) -> int:
    """What an entry says came to the payment provider."""
    return -sum(leg.amount_atoms for leg in entry.legs if leg.account == accounts.STRIPE)


def described(movement: Movement) -> str:
    """For people: what moved, how much, of which object."""
    amount = format_usd(movement.cents * ATOMS_PER_CENT) if movement.currency == CURRENCY else str(movement.cents)
    about = f" of {movement.source_id}" if movement.source_id else ""
    return f"{movement.txn_id}: {movement.kind}{about}, {amount} {movement.currency.upper()}"


def fields_of(movement: Movement) -> dict[str, str | int]:
    """As a record keeps it."""
    return {
        "kind": str(movement.kind),
        "cents": movement.cents,
        "fee_cents": movement.fee_cents,
        "created_ms": movement.created_ms,
        "source_id": movement.source_id,
        "payment_id": movement.payment_id,
        "refund_id": movement.refund_id,
        "dispute_id": movement.dispute_id,
        "payout_id": movement.payout_id,
    }


def kept_movement(record: Record) -> Movement:
    """The movement of a record; only those in USD are kept."""
    return Movement(
        txn_id=record.id,
        kind=MovementKind(record.text("kind")),
        cents=record.number("cents"),
        fee_cents=record.number("fee_cents"),
        currency=CURRENCY,
        created_ms=record.number("created_ms"),
        source_id=record.text("source_id"),
        payment_id=record.text("payment_id"),
        refund_id=record.text("refund_id"),
        dispute_id=record.text("dispute_id"),
        payout_id=record.text("payout_id"),
    )
