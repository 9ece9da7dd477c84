"""The proof of the books, from what any store can list: its journal, its balances, its holds, its records."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from gollem.ledger.accounts import (
    bounds,
    hold_account,
    is_hold,
    is_user,
    is_within_bounds,
    payout_account,
    refund_account,
    user_account,
)
from gollem.ledger.records import PAYOUT, PURCHASE, REFUND
from gollem.ledger.types import ALL_CHECKS, AuditReport, Check, Entry, Finding, Hold, HoldState, Kind, Record
from gollem.units import format_fixed

MAX_FINDINGS = 1_000
ACCOUNT_OF = {PAYOUT: payout_account, REFUND: refund_account}  # by kind of record, what holds its amount
_UNDER_WAY = ("PO:", "RF:")
OF_THE_JOURNAL = frozenset({Check.TRANSACTIONS, Check.BALANCES})


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account as the store keeps it beside the journal."""

    account: str
    balance_atoms: int
    held_atoms: int


@dataclass(frozen=True, slots=True)
class HoldBalance:
    """A hold as the store keeps it: its own account's balance is what remains of it. `digest` is that of its fixed
    fields, where they were read."""

    order_id: str
    user: str
    state: HoldState
    remaining_atoms: int
    digest: str = ""


def seal(entry: Entry) -> str:
    """A digest of all that an entry says but its sequence; stored beside it, so that a changed byte is found."""
    parts = [entry.key, entry.kind, entry.fingerprint, str(entry.at_ms), entry.order_id, entry.detail]
    parts += [f"{leg.account}={leg.amount_atoms}" for leg in entry.legs]
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def hold_digest(hold: Hold) -> str:
    """Of all that a hold is opened with and that never changes: the entry that opens it keeps this as its detail, under
    its seal, since prices and deadline decide what is charged."""
    parts = [hold.user, hold.provider, hold.terms, hold.amount_atoms, hold.opened_at_ms, hold.expires_at_ms, hold.fence]
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def prove(
    journal: Iterable[tuple[Entry, str]],
    accounts: Iterable[AccountState],
    holds: Iterable[HoldBalance],
    records: Iterable[Record],
    checks: frozenset[Check] = ALL_CHECKS,
) -> AuditReport:
    """Compare the balances with the journal. `journal` is every entry with the seal stored beside it."""
    proof = Proof(checks)
    proof.read(journal, accounts, holds, records)
    return proof.report()


class Proof:
    """What has been read so far, and what did not hold of what is checked."""

    def __init__(self, checks: frozenset[Check] = ALL_CHECKS, *, is_snapshot: bool = True) -> None:
        """`is_snapshot`: whether all balances are of one moment. Else whoever reads them looks at their bounds, since a
        sum of entries that are not the first ones of all may be below 0 for a while."""
        self._checks = checks
        self._is_snapshot = is_snapshot
        self._found: list[Finding] = []
        self._transactions = 0
        self._accounts = 0
        self._total_atoms = 0
        self._sums: dict[str, int] = {}  # of the legs of each account, where not 0; taken out when compared
        self._held: dict[str, int] = {}  # by user's account
        self._under_way: dict[str, int] = {}  # balances of payouts and refunds
        self._digests: dict[str, str] = {}  # of open holds, by account, as their entries have them

    def read(
        self,
        journal: Iterable[tuple[Entry, str]],
        accounts: Iterable[AccountState],
        holds: Iterable[HoldBalance],
        records: Iterable[Record],
    ) -> None:
        """All there is; what no check needs is left unread.

        Memory is bounded by the accounts whose legs do not sum to 0 and by what is under way, not by the journal."""
        if self._checks & OF_THE_JOURNAL:
            self.replay(journal)
        if self._checks - {Check.TRANSACTIONS}:
            self.compare_accounts(accounts)
            self.compare_holds(holds)
        if Check.BALANCES in self._checks:
            self.compare_records(records)

    def find(self, check: Check, *texts: str) -> None:
        """Note what does not hold, if that is checked."""
        if check in self._checks:
            self._found += [Finding(check, text) for text in texts]

    def replay(self, journal: Iterable[tuple[Entry, str]]) -> None:
        """Each entry for itself, and the sum of the legs of every account."""
        for entry, stored_seal in journal:
            self._transactions += 1
            difference = sum(leg.amount_atoms for leg in entry.legs)
            if difference:
                self.find(Check.TRANSACTIONS, f"{entry.key}: legs sum to {format_fixed(difference)}, not to 0")
            if seal(entry) != stored_seal:
                self.find(Check.TRANSACTIONS, f"{entry.key}: is not what was written: its seal does not match")
            for leg in entry.legs:
                self._add(leg.account, leg.amount_atoms, entry)

    def _add(self, account: str, atoms: int, entry: Entry) -> None:
        value = self._sums.pop(account, 0) + atoms
        if value:
            self._sums[account] = value
        if not is_hold(account):
            return
        if not value:
            self._digests.pop(account, None)
        elif entry.kind is Kind.HOLD and entry.detail:
            self._digests[account] = entry.detail

    def compare_accounts(self, accounts: Iterable[AccountState]) -> None:
        for state in accounts:
            self._compare(state.account, state.balance_atoms)
            if is_user(state.account) and state.held_atoms:
                self._held[state.account] = state.held_atoms
            if state.balance_atoms and state.account.startswith(_UNDER_WAY):
                self._under_way[state.account] = state.balance_atoms

    def add_idle(self, count: int, total_atoms: int) -> None:
        """So many accounts of which only the sum was read."""
        self._accounts += count
        self._total_atoms += total_atoms

    def note_accounts(self, count: int) -> None:
        """So many escrows that are closed and empty."""
        self._accounts += count

    def compare_holds(self, holds: Iterable[HoldBalance]) -> None:
        open_atoms: dict[str, int] = defaultdict(int)
        for hold in holds:
            account = hold_account(hold.order_id)
            self._compare(account, hold.remaining_atoms)
            if hold.state is HoldState.OPEN:
                open_atoms[user_account(hold.user)] += hold.remaining_atoms
                if hold.digest and self._digests.get(account, hold.digest) != hold.digest:
                    self.find(Check.HOLDS, f"{account}: its user, provider, terms or deadline are not what was written")
            elif hold.remaining_atoms:
                remaining = format_fixed(hold.remaining_atoms)
                self.find(Check.HOLDS, f"{account}: {hold.state} with {remaining} remaining")
        for account in sorted(self._held.keys() | open_atoms.keys()):
            is_atoms, should_atoms = self._held.get(account, 0), open_atoms.get(account, 0)
            self.find(Check.HOLDS, *_differences(account, "held", is_atoms, "open holds sum", should_atoms))

    def compare_records(self, records: Iterable[Record]) -> None:
        """What is under way holds its amount, what is over nothing; no purchase gives back more than it brought."""
        for record in records:
            amount_atoms = record.number("amount_atoms")
            if record.kind in ACCOUNT_OF:
                self._compare_under_way(
                    ACCOUNT_OF[record.kind](record.id),
                    f"its {record.kind} is {record.state}, which comes",
                    amount_atoms if record.state == "INITIATED" else 0,
                )
            elif record.kind == PURCHASE and record.number("refunded_atoms") > amount_atoms:
                refunded = format_fixed(record.number("refunded_atoms"))
                self.find(Check.BALANCES, f"purchase {record.id}: refunded {refunded} of {format_fixed(amount_atoms)}")
        for account in sorted(self._under_way):
            self._compare_under_way(account, "no record comes", 0)

    def report(self) -> AuditReport:
        for account, legs_atoms in self._sums.items():
            self.find(Check.BALANCES, *_differences(account, "balance", 0, "legs sum", legs_atoms))
        if self._total_atoms:
            total = format_fixed(self._total_atoms)
            self.find(Check.TRIAL_BALANCE, f"trial balance: all accounts sum to {total}, not to 0")
        return AuditReport(self._transactions, self._accounts, self._found[:MAX_FINDINGS])

    def _compare(self, account: str, balance_atoms: int) -> None:
        self._accounts += 1
        self._total_atoms += balance_atoms
        if Check.BALANCES in self._checks:
            legs_atoms = self._sums.pop(account, 0)
            self.find(Check.BALANCES, *_differences(account, "balance", balance_atoms, "legs sum", legs_atoms))
            if self._is_snapshot:
                self.find(Check.BALANCES, *bound_findings(account, balance_atoms))

    def _compare_under_way(self, account: str, source: str, should_atoms: int) -> None:
        is_atoms = self._under_way.pop(account, 0)
        self.find(Check.BALANCES, *_differences(account, "balance", is_atoms, source, should_atoms))


def bound_findings(account: str, balance_atoms: int) -> list[str]:
    """What is wrong with the balance, whatever the journal says."""
    if is_within_bounds(account, balance_atoms):
        return []
    return [f"{account}: balance {format_fixed(balance_atoms)}, but {bounds(account).value}"]


def _differences(account: str, name: str, is_atoms: int, source: str, should_atoms: int) -> list[str]:
    if is_atoms == should_atoms:
        return []
    return [
        f"{account}: {name} {format_fixed(is_atoms)}, {source} to {format_fixed(should_atoms)}, "
        f"difference {format_fixed(is_atoms - should_atoms)}"
    ]
