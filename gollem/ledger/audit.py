"""The proof of the books, from what any store can list: its journal, its balances, its holds."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from gollem.ledger.accounts import hold_account, is_hold, is_user, user_account
from gollem.ledger.types import AuditReport, Entry, HoldState
from gollem.units import format_fixed

MAX_FINDINGS = 1_000


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account as the store keeps it beside the journal."""

    account: str
    balance_atoms: int
    held_atoms: int


@dataclass(frozen=True, slots=True)
class HoldBalance:
    """A hold as the store keeps it: its own account's balance is what remains of it."""

    order_id: str
    user: str
    state: HoldState
    remaining_atoms: int


def seal(entry: Entry) -> str:
    """A digest of all that an entry says but its sequence; stored beside it, so that a changed byte is found."""
    parts = [entry.key, entry.kind, entry.fingerprint, str(entry.at_ms), entry.order_id, entry.detail]
    parts += [f"{leg.account}={leg.amount_atoms}" for leg in entry.legs]
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def prove(
    journal: Iterable[tuple[Entry, str]], accounts: Iterable[AccountState], holds: Iterable[HoldBalance]
) -> AuditReport:
    """Compare the balances with the journal. `journal` is every entry with the seal stored beside it.

    Memory is bounded by the accounts whose legs do not sum to 0, not by the journal."""
    findings: list[str] = []
    transactions, sums = _replay(journal, findings)
    known = 0
    total = 0
    held: dict[str, int] = {}
    for state in accounts:
        known += 1
        total += state.balance_atoms
        findings += _balance_findings(state.account, state.balance_atoms, sums.pop(state.account, 0))
        if is_user(state.account) and state.held_atoms:
            held[state.account] = state.held_atoms
    open_atoms: dict[str, int] = defaultdict(int)
    for hold in holds:
        known += 1
        account = hold_account(hold.order_id)
        total += hold.remaining_atoms
        findings += _balance_findings(account, hold.remaining_atoms, sums.pop(account, 0))
        if hold.state is HoldState.OPEN:
            open_atoms[user_account(hold.user)] += hold.remaining_atoms
        elif hold.remaining_atoms:
            findings.append(f"{account}: {hold.state} with {format_fixed(hold.remaining_atoms)} remaining")
    for account, legs_atoms in sums.items():
        findings += _balance_findings(account, 0, legs_atoms)
    for account in sorted(held.keys() | open_atoms.keys()):
        findings += _differences(account, "held", held.get(account, 0), "open holds sum", open_atoms.get(account, 0))
    if total:
        findings.append(f"trial balance: all accounts sum to {format_fixed(total)}, not to 0")
    return AuditReport(transactions=transactions, accounts=known, findings=findings[:MAX_FINDINGS])


def _replay(journal: Iterable[tuple[Entry, str]], findings: list[str]) -> tuple[int, dict[str, int]]:
    """Number of entries, and the sum of legs of every account where it is not 0."""
    count = 0
    sums: dict[str, int] = {}
    for entry, stored_seal in journal:
        count += 1
        difference = sum(leg.amount_atoms for leg in entry.legs)
        if difference:
            findings.append(f"{entry.key}: legs sum to {format_fixed(difference)}, not to 0")
        if seal(entry) != stored_seal:
            findings.append(f"{entry.key}: is not what was written: its seal does not match")
        for leg in entry.legs:
            value = sums.pop(leg.account, 0) + leg.amount_atoms
            if value:
                sums[leg.account] = value
    return count, sums


def _balance_findings(account: str, balance_atoms: int, legs_atoms: int) -> list[str]:
    findings = _differences(account, "balance", balance_atoms, "legs sum", legs_atoms)
    if balance_atoms < 0 and (is_user(account) or is_hold(account)):
        findings.append(f"{account}: balance {format_fixed(balance_atoms)} is negative")
    return findings


def _differences(account: str, name: str, is_atoms: int, source: str, should_atoms: int) -> list[str]:
    if is_atoms == should_atoms:
        return []
    return [
        f"{account}: {name} {format_fixed(is_atoms)}, {source} to {format_fixed(should_atoms)}, "
        f"difference {format_fixed(is_atoms - should_atoms)}"
    ]
