"""What an audit compares with the journal while both move: accounts, holds, and records of what is under way. Pure.

Each thing is read, then the journal, then the thing again. What is the same both times did not move in between, so that
it has to agree with the journal that was read there: if it does not, that is no accident of reading. An account that
never stands still has sums that do, those of the entries of past minutes.
"""

from dataclasses import dataclass, field

from gollem.ledger.accounts import is_hold, user_account
from gollem.ledger.audit import ACCOUNT_OF, AccountState, HoldBalance, hold_digest
from gollem.ledger.dynamodb import items
from gollem.ledger.dynamodb.items import SLOTS, Item
from gollem.ledger.types import Entry, Hold, HoldState, Record


@dataclass(frozen=True, slots=True)
class Sum:
    """Of some entries: how many they are, and what they moved."""

    entries: int = 0
    atoms: int = 0
    held: int = 0

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.entries + other.entries, self.atoms + other.atoms, self.held + other.held)

    def __sub__(self, other: "Sum") -> "Sum":
        return Sum(self.entries - other.entries, self.atoms - other.atoms, self.held - other.held)


NOTHING = Sum()
_EMPTY = (NOTHING,) * SLOTS


@dataclass(slots=True)
class Escrow:
    """What the journal says of a hold that is not closed."""

    atoms: int = 0
    user: str = ""  # its account


@dataclass(slots=True)
class Journal:
    """The sums of all entries read: by account and slot, and by open hold."""

    accounts: dict[str, list[Sum]] = field(default_factory=dict)
    escrows: dict[str, Escrow] = field(default_factory=dict)

    def add(self, entry: Entry, also: str) -> None:
        """`also`: the account that the entry moves without a leg."""
        moved = {leg.account: leg.amount_atoms for leg in entry.legs if not is_hold(leg.account)}
        if also:
            moved.setdefault(also, 0)
        user = also or next((name for name in moved if name.startswith("U:")), "")
        held = self._add_escrow(entry, user)
        slot = items.slot_of(entry.sequence)
        for name, atoms in moved.items():
            sums = self.accounts.setdefault(name, list(_EMPTY))
            sums[slot] += Sum(1, atoms, held if name == user else 0)

    def _add_escrow(self, entry: Entry, user: str) -> int:
        """How much of the user's became held."""
        held = 0
        for leg in entry.legs:
            if is_hold(leg.account):
                held += leg.amount_atoms
                escrow = self.escrows.pop(leg.account, None) or Escrow(user=user)
                escrow.atoms += leg.amount_atoms
                if escrow.atoms:
                    self.escrows[leg.account] = escrow
        return held

    def of(self, account: str) -> Sum:
        return sum(self.accounts.get(account, _EMPTY), NOTHING)

    def escrow_atoms(self, name: str) -> int:
        return self.escrows[name].atoms if name in self.escrows else 0


class AccountLook:
    """`balance` and `held` are the whole; the sums are of its slots."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = items.account_key(name)
        self._looks = 0
        self._whole = NOTHING
        self._sums: tuple[Sum, ...] = _EMPTY
        self._before: tuple[Sum, ...] = _EMPTY

    def read(self, item: Item | None) -> None:
        *sums, self._whole = (Sum(*figures) for figures in items.read_sums(item or {"pk": self.key["pk"]}))
        self._before, self._sums = self._sums, tuple(sums)
        self._looks += 1

    @property
    def balance_atoms(self) -> int:
        """As the item has it."""
        return self._whole.atoms

    def agrees(self, journal: Journal) -> bool:
        return self._looks > 0 and self._sums == tuple(journal.accounts.get(self.name, _EMPTY))

    def differs(self, journal: Journal, recent: frozenset[int]) -> Sum:
        """The item in itself, which is read at one moment, and its sums that stand."""
        own = sum(self._sums, NOTHING)
        difference = Sum(0, self._whole.atoms - own.atoms, self._whole.held - own.held)
        lacking = self.lacking(journal, recent)
        for slot, should in enumerate(journal.accounts.get(self.name, _EMPTY)):
            stands = self._looks > 1 and self._before[slot] == self._sums[slot]
            if stands and slot not in lacking:
                difference += self._sums[slot] - should
        return difference

    def lacking(self, journal: Journal, recent: frozenset[int]) -> frozenset[int]:
        """The slots that had more entries than are known, before the journal was read: an index may be hiding them."""
        sums = journal.accounts.get(self.name, _EMPTY)
        return frozenset(slot for slot in recent if self._before[slot].entries > sums[slot].entries)

    def state(self, journal: Journal, difference: Sum) -> AccountState:
        """As the journal has it, and what was proven to differ."""
        now = journal.of(self.name) + difference
        return AccountState(self.name, now.atoms, now.held)


class HoldLook:
    """A hold, which few transactions move."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = items.hold_key(name[2:])
        self._looks = 0
        self._hold: Hold | None = None
        self._remaining = 0
        self._stands = False

    def read(self, item: Item | None) -> None:
        before = self._hold, self._remaining
        self._hold = items.read_hold(item) if item else None
        self._remaining = items.read_remaining(item) if item else 0
        self._stands = self._looks > 0 and before == (self._hold, self._remaining)
        self._looks += 1

    def agrees(self, journal: Journal) -> bool:
        return self._looks > 0 and not self._difference(journal)

    def differs(self, journal: Journal) -> int:
        return self._difference(journal) if self._stands else 0

    def account(self, journal: Journal) -> str:
        """The user's, which every entry of the hold moves too."""
        if self._hold:
            return user_account(self._hold.user)
        return journal.escrows[self.name].user if self.name in journal.escrows else ""

    def _difference(self, journal: Journal) -> int:
        return self._remaining - journal.escrow_atoms(self.name)

    def state(self, journal: Journal, difference: int) -> HoldBalance | None:
        """None for one that is not there and should be: the journal's sum says so by itself."""
        atoms = journal.escrow_atoms(self.name) + difference
        if self._hold is None:
            if difference or not atoms:
                return None
            return HoldBalance(self.name[2:], journal.escrows[self.name].user[2:], HoldState.OPEN, atoms)
        hold = self._hold
        state = hold.state
        if not difference and not (state is not HoldState.OPEN and self._remaining):
            state = HoldState.OPEN if atoms else (HoldState.SETTLED if state is HoldState.OPEN else state)
        return HoldBalance(hold.order_id, hold.user, state, atoms, hold_digest(hold))


class RecordLook:
    """A record of something under way, whose account holds its amount while it is."""

    def __init__(self, kind: str, record_id: str) -> None:
        self.key = items.record_key(kind, record_id)
        self.account = ACCOUNT_OF[kind](record_id)
        self._kind, self._id = kind, record_id
        self._looks = 0
        self._record: Record | None = None
        self._stands = False

    def read(self, item: Item | None) -> None:
        before, self._record = self._record, items.read_record(item) if item else None
        self._stands = self._looks > 0 and before == self._record
        self._looks += 1

    def agrees(self, journal: Journal) -> bool:
        return self._looks > 0 and not self._difference(journal)

    def differs(self, journal: Journal) -> int:
        return self._difference(journal) if self._stands else 0

    def _difference(self, journal: Journal) -> int:
        record = self._record
        should = record.number("amount_atoms") if record and record.state == "INITIATED" else 0
        return should - journal.of(self.account).atoms

    def state(self, journal: Journal, difference: int) -> Record | None:
        """As it was read where that was proven to differ, else as the journal has it."""
        if difference:
            return self._record
        atoms = journal.of(self.account).atoms
        fields: dict[str, str | int] = {"amount_atoms": atoms}
        return Record(self._kind, self._id, "INITIATED" if atoms else "OVER", fields)
