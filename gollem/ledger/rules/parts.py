"""What several rules share: fingerprints, names within keys, amounts, and debt that is repaid first."""

from hashlib import blake2b

from gollem.errors import InvalidField, InvariantBroken
from gollem.ledger.accounts import Bounds, bounds, is_name, is_well_formed
from gollem.ledger.types import AvailableAtLeast, Leg, Record
from gollem.units import ATOMS_PER_CENT

_OWNED = ("U:", "P:")


def digest(*parts: object) -> str:
    """A stable fingerprint of what matters."""
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def require_names(**names: str) -> None:
    """Raises InvalidField for one that cannot be part of a key or of an account."""
    for field, name in names.items():
        if not is_name(name):
            raise InvalidField(field, "must be 1 to 64 letters, digits, dots, hyphens or underscores")


def require_positive(what: str, atoms: int) -> None:
    """Raises InvariantBroken."""
    if type(atoms) is not int or atoms <= 0:
        raise InvariantBroken(f"{what}: {atoms!r} atoms, must be a positive integer")


def require_cents(what: str, atoms: int) -> None:
    """Of dollars there are whole cents only. Raises InvariantBroken."""
    require_positive(what, atoms)
    if atoms % ATOMS_PER_CENT:
        raise InvariantBroken(f"{what}: {atoms} atoms are not whole cents")


def require_kind(record: Record, kind: str) -> None:
    """Raises InvariantBroken for a record of another kind."""
    if record.kind != kind:
        raise InvariantBroken(f"{record.kind} {record.id} is no {kind}")


def require_adjustable(account: str, other_than: str) -> None:
    """What people may move money to and from by hand. Raises InvalidField."""
    is_free = is_well_formed(account) and bounds(account) is Bounds.FREE
    if account == other_than or not (is_free or (is_well_formed(account) and account.startswith(_OWNED))):
        raise InvalidField("account", "must be another one, of a user (U:), payable (P:) or the platform's own")


def if_there(account: str, amount_atoms: int) -> tuple[AvailableAtLeast, ...]:
    """The guard of what is taken from somebody by hand, if it is."""
    is_taken = amount_atoms < 0 and account.startswith(_OWNED)
    return (AvailableAtLeast(account, -amount_atoms),) if is_taken else ()


def debt_first(account: str, debt_account: str, debt_atoms: int, amount_atoms: int) -> list[Leg]:
    """The amount to whom it belongs, less what it repays of the owner's debt."""
    if debt_atoms < 0:
        raise InvariantBroken(f"{debt_account}: a debt of {debt_atoms} atoms")
    repaid = min(debt_atoms, amount_atoms)
    return [leg for leg in (Leg(debt_account, repaid), Leg(account, amount_atoms - repaid)) if leg.amount_atoms]


def debt_last(account: str, debt_account: str, available_atoms: int, amount_atoms: int) -> list[Leg]:
    """The amount from whom it is due, as far as it is there; the rest becomes debt."""
    if available_atoms < 0:
        raise InvariantBroken(f"{account}: {available_atoms} atoms available")
    taken = min(available_atoms, amount_atoms)
    return [leg for leg in (Leg(account, -taken), Leg(debt_account, taken - amount_atoms)) if leg.amount_atoms]
