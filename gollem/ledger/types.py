"""What the ledger speaks of: transactions as data (legs, guards, effects), holds, balances, statements.

Signs: a leg's amount is credit positive; every transaction sums to 0 and so does the sum over all accounts. Liabilities
(what users and providers own) are positive, assets and expenses negative.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Types of transaction."""

    GRANT = "grant"
    HOLD = "hold"
    SETTLE = "settle"
    VOID = "void"
    EXPIRE = "expire"


class HoldState(StrEnum):
    OPEN = "OPEN"
    SETTLED = "SETTLED"
    VOIDED = "VOIDED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Leg:
    """One account's part of a transaction."""

    account: str
    amount_atoms: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Escrow of one order. `terms` is the caller's own text, kept and given back as it is."""

    order_id: str
    user: str
    provider: str
    amount_atoms: int
    opened_at_ms: int
    expires_at_ms: int
    terms: str
    fence: int = 0
    state: HoldState = HoldState.OPEN

    @property
    def remaining_atoms(self) -> int:
        """All of it while open, nothing afterwards."""
        return self.amount_atoms if self.state is HoldState.OPEN else 0


# Guards: what must hold at the moment of posting, or nothing is written.


@dataclass(frozen=True, slots=True)
class AvailableAtLeast:
    """The user account has this much to spend. Refused: InsufficientCredits."""

    user: str
    atoms: int


@dataclass(frozen=True, slots=True)
class UserActive:
    """The user may open holds. Refused: AccountFrozen."""

    user: str


@dataclass(frozen=True, slots=True)
class HoldOpen:
    """The hold is open with this amount and fence and, if `expired_by_ms` is given, its deadline has passed by then.
    Refused: HoldClosed."""

    order_id: str
    amount_atoms: int
    fence: int
    expired_by_ms: int | None = None


Guard = AvailableAtLeast | UserActive | HoldOpen


# Effects: what changes besides the balances.


@dataclass(frozen=True, slots=True)
class OpenHold:
    """Write the hold, and add its amount to the user's `held` memo."""

    hold: Hold


@dataclass(frozen=True, slots=True)
class CloseHold:
    """Close the hold, and take its amount from the user's `held` memo."""

    order_id: str
    user: str
    amount_atoms: int
    state: HoldState


Effect = OpenHold | CloseHold


@dataclass(frozen=True, slots=True)
class Transaction:
    """One atomic movement. Built by `ledger.rules` only.

    `key` is permanent: a second transaction of the same key is answered by the first. `fingerprint` tells a replay (the
    same) from a misuse (another) of the key. `detail` is the caller's own text, kept and given back as it is.
    """

    key: str
    kind: Kind
    legs: tuple[Leg, ...]
    fingerprint: str
    at_ms: int
    guards: tuple[Guard, ...] = ()
    effects: tuple[Effect, ...] = ()
    order_id: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction as the journal has it. `sequence` orders the journal."""

    sequence: int
    key: str
    kind: Kind
    legs: tuple[Leg, ...]
    fingerprint: str
    at_ms: int
    order_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Posted:
    """The entry of the key, and whether this call wrote it (`applied`) or an earlier one had (`exists`)."""

    applied: bool
    entry: Entry


@dataclass(frozen=True, slots=True)
class Balance:
    """A user's credits: to spend, and held for orders under way. An unknown user has none and is active."""

    available_atoms: int
    held_atoms: int
    active: bool


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One leg of one account, newest first. `cursor` continues after it."""

    cursor: int
    key: str
    kind: Kind
    amount_atoms: int
    order_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Whether the books balance; a finding a line, each with the exact difference."""

    transactions: int
    accounts: int
    findings: Sequence[str]

    @property
    def ok(self) -> bool:
        return not self.findings
