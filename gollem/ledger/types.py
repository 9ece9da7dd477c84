"""What the ledger speaks of: transactions as data (legs, guards, effects), holds, records, balances, statements.

Signs: a leg's amount is credit positive; every transaction sums to 0 and so does the sum over all accounts. Liabilities
(what users and providers own) are positive, assets and expenses negative.

They are structs of msgspec: an order makes some forty of them, and a frozen dataclass takes seven times as long to
make. The garbage collector does not follow them, since none can be part of a cycle.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace


class Kind(StrEnum):
    """Types of transaction."""

    GRANT = "grant"
    PROMO = "promo"
    PURCHASE_CREATED = "purchase_created"
    PURCHASE_INTENDED = "purchase_intended"
    PURCHASE = "purchase"
    PURCHASE_CANCELLED = "purchase_cancelled"
    STRIPE_FEE = "stripe_fee"
    HOLD = "hold"
    PARTIAL_SETTLE = "partial_settle"
    SETTLE = "settle"
    VOID = "void"
    EXPIRE = "expire"
    MATURE = "mature"
    PROVIDER = "provider"
    PAYOUT_INITIATED = "payout_initiated"
    PAYOUT_TRANSFERRED = "payout_transferred"
    PAYOUT_CANCELLED = "payout_cancelled"
    PAYOUT_PAID = "payout_paid"
    PAYOUT_FAILED = "payout_failed"
    PAYOUT_REVERSED = "payout_reversed"
    PLATFORM_PAYOUT = "platform_payout"
    REFUND_INITIATED = "refund_initiated"
    REFUND_SUCCEEDED = "refund_succeeded"
    REFUND_FAILED = "refund_failed"
    DISPUTE_WITHDRAWN = "dispute_withdrawn"
    DISPUTE_REINSTATED = "dispute_reinstated"
    WRITE_OFF = "write_off"
    CLAWBACK = "clawback"
    ADJUSTMENT_PROPOSED = "adjustment_proposed"
    ADJUSTMENT = "adjustment"
    UNMATCHED = "unmatched"
    UNMATCHED_RESOLVED = "unmatched_resolved"
    USER_FROZEN = "user_frozen"
    USER_UNFROZEN = "user_unfrozen"
    RECONCILIATION = "reconciliation"
    PAYOUTS_HALTED = "payouts_halted"
    PAYOUTS_RESUMED = "payouts_resumed"
    ALERT_RULE = "alert_rule"
    ALERT = "alert"
    NOTE = "note"


class Check(StrEnum):
    """What reconciliation proves, each for itself."""

    TRANSACTIONS = "R1"  # each sums to zero, and is what was written
    TRIAL_BALANCE = "R2"  # all balances sum to zero
    BALANCES = "R3"  # each is the sum of its legs
    HOLDS = "R4"  # held is what open holds hold, what is over holds nothing
    MOVEMENTS = "R5"  # each movement at the payment provider is in the books, to the cent
    FUNDS = "R6"  # the balance there is the one of A:stripe
    CONNECTED = "R8"  # the balance of each provider's account there is the one of its A:conn
    SEALS = "R9"  # the past is what it was when its day was sealed


class HoldState(StrEnum):
    OPEN = "OPEN"
    SETTLED = "SETTLED"
    VOIDED = "VOIDED"
    EXPIRED = "EXPIRED"


class Leg(Struct, frozen=True, gc=False):
    """One account's part of a transaction."""

    account: str
    amount_atoms: int


class Hold(Struct, frozen=True, gc=False):
    """Escrow of one order. `terms` is the caller's own text, kept and given back as it is.

    `settled_atoms` is what `sequence` partial settlements have taken of it already."""

    order_id: str
    user: str
    provider: str
    amount_atoms: int
    opened_at_ms: int
    expires_at_ms: int
    terms: str
    fence: int = 0
    state: HoldState = HoldState.OPEN
    settled_atoms: int = 0
    sequence: int = 0

    @property
    def rest_atoms(self) -> int:
        """What partial settlements have left, for the closing transaction to share out."""
        return self.amount_atoms - self.settled_atoms

    @property
    def remaining_atoms(self) -> int:
        """What the escrow holds: the rest while open, nothing afterwards."""
        return self.rest_atoms if self.state is HoldState.OPEN else 0

    def with_terms(self, terms: str) -> "Hold":
        return replace(self, terms=terms)


class Record(Struct, frozen=True, gc=False):
    """Something with a state that transactions depend on and change: a purchase, a payout, a day's cap.

    `kind` and `id` name it. `fields` are flat: short texts, and integers within 62 bits."""

    kind: str
    id: str
    state: str
    fields: Mapping[str, str | int] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The field as text; empty if it has none."""
        return str(self.fields.get(name, ""))

    def number(self, name: str) -> int:
        """The field as a number; 0 if it has none."""
        return int(self.fields.get(name, 0))


# Guards: what must hold at the moment of posting, or nothing is written. Of several that do not hold, the first in the
# transaction's order makes the error. A hold, an account or a record has at most one guard of each type.


class AvailableAtLeast(Struct, frozen=True, gc=False):
    """The account has this much; one that was never used has 0. Refused: InsufficientCredits."""

    account: str
    atoms: int


class BalanceIs(Struct, frozen=True, gc=False):
    """The account has exactly this: what the transaction was computed from. Refused: StaleRead, which asks the
    caller to read again. An account that was never used has 0."""

    account: str
    atoms: int


class UserActive(Struct, frozen=True, gc=False):
    """The user may open holds. Refused: AccountFrozen."""

    user: str


class HoldOpen(Struct, frozen=True, gc=False):
    """The hold is open with this much remaining, this fence and this number of partial settlements and, if
    `expired_by_ms` is given, its deadline has passed by then. Refused: HoldClosed."""

    order_id: str
    remaining_atoms: int
    fence: int
    expired_by_ms: int | None = None
    sequence: int = 0


ABSENT = ""  # as a state: there is no such record


class RecordIs(Struct, frozen=True, gc=False):
    """The record is there in one of these states, else WrongState, and each of these fields is this, else StaleRead.
    With ABSENT among the states it may also not be there."""

    kind: str
    id: str
    states: tuple[str, ...]
    equals: Mapping[str, str | int] = field(default_factory=dict)


Guard = AvailableAtLeast | BalanceIs | UserActive | HoldOpen | RecordIs


# Effects: what changes besides the balances. A hold, a record or a user has at most one effect.


class OpenHold(Struct, frozen=True, gc=False):
    """Write the hold, and add its amount to the user's `held` memo."""

    hold: Hold


class ReduceHold(Struct, frozen=True, gc=False):
    """Take a part out of the hold: `settled_atoms` grows by it, `sequence` by one, the user's `held` memo shrinks.
    Needs the hold's HoldOpen, with more remaining than is taken."""

    order_id: str
    user: str
    atoms: int


class CloseHold(Struct, frozen=True, gc=False):
    """Close the hold, and take what remained (`amount_atoms`) from the user's `held` memo. Needs its HoldOpen."""

    order_id: str
    user: str
    amount_atoms: int
    state: HoldState


class PutRecord(Struct, frozen=True, gc=False):
    """Write a record that must not be there. Refused, after all guards: WrongState."""

    record: Record


class UpdateRecord(Struct, frozen=True, gc=False):
    """Give the record this state (None: as it is) and these fields; others stay. Needs its RecordIs."""

    kind: str
    id: str
    state: str | None = None
    fields: Mapping[str, str | int] = field(default_factory=dict)


class SetUserActive(Struct, frozen=True, gc=False):
    """Whether the user may open holds."""

    user: str
    active: bool


Effect = OpenHold | ReduceHold | CloseHold | PutRecord | UpdateRecord | SetUserActive


class Transaction(Struct, frozen=True, gc=False):
    """One atomic movement; one that only changes records or a user's state has no legs. Built by `ledger.rules` only.

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


class Entry(Struct, frozen=True, gc=False):
    """A transaction as the journal has it. `sequence` orders the journal."""

    sequence: int
    key: str
    kind: Kind
    legs: tuple[Leg, ...]
    fingerprint: str
    at_ms: int
    order_id: str
    detail: str


class Posted(Struct, frozen=True, gc=False):
    """The entry of the key, and whether this call wrote it (`applied`) or an earlier one had (`exists`)."""

    applied: bool
    entry: Entry


class Balance(Struct, frozen=True, gc=False):
    """A user's credits: to spend, and held for orders under way. An unknown user has none and is active."""

    available_atoms: int
    held_atoms: int
    active: bool


class ProviderBalance(Struct, frozen=True, gc=False):
    """A provider's credits: earned but not due yet, due, and owed to the platform."""

    maturing_atoms: int
    payable_atoms: int
    debt_atoms: int

    @property
    def earned_atoms(self) -> int:
        """What has been earned and not been paid."""
        return self.maturing_atoms + self.payable_atoms


class Earnings(Struct, frozen=True, gc=False):
    """What a provider earned on one UTC day (yyyymmdd) and has not matured: by account, one a shard, none of them 0."""

    provider: str
    day: str
    shards: Mapping[str, int]

    @property
    def atoms(self) -> int:
        return sum(self.shards.values())


class StatementFilter(Struct, frozen=True, gc=False):
    """Which lines of a statement: of these kinds (none named: all), from `from_ms` to before `to_ms` (None: no end)."""

    kinds: frozenset[Kind] = frozenset()
    from_ms: int = 0
    to_ms: int | None = None

    def admits(self, kind: Kind, at_ms: int) -> bool:
        if self.kinds and kind not in self.kinds:
            return False
        return self.from_ms <= at_ms and (self.to_ms is None or at_ms < self.to_ms)


EVERYTHING = StatementFilter()
OF_PAYMENTS = frozenset({Check.MOVEMENTS, Check.FUNDS, Check.CONNECTED})  # need the payment provider's books
ALL_CHECKS = frozenset(Check) - {Check.SEALS} - OF_PAYMENTS  # all that the books prove by themselves


class StatementLine(Struct, frozen=True, gc=False):
    """One leg of one account, newest first. `cursor` continues after it: opaque, printable ASCII, at most 256
    characters, good only for the statement that gave it."""

    cursor: str
    key: str
    kind: Kind
    amount_atoms: int
    order_id: str
    at_ms: int


class Finding(Struct, frozen=True, gc=False):
    """What does not hold, with the exact difference, and which check says so."""

    check: Check
    text: str


class AuditReport(Struct, frozen=True, gc=False):
    """Whether the books balance, and how much was read."""

    transactions: int
    accounts: int
    found: Sequence[Finding]

    @property
    def findings(self) -> list[str]:
        """A line each."""
        return [finding.text for finding in self.found]

    @property
    def ok(self) -> bool:
        return not self.found
