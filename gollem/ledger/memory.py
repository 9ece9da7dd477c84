"""The ledger in a few dictionaries: the model that the tests compare every backend with. Keeps nothing on disk."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from gollem.errors import InvariantBroken
from gollem.ledger import accounts, refusals
from gollem.ledger.audit import AccountState, HoldBalance, hold_digest, prove, seal
from gollem.ledger.checks import check, entry_of, leg_number
from gollem.ledger.cursors import cursor_of, parse_cursor
from gollem.ledger.records import require_listed
from gollem.ledger.types import (
    ALL_CHECKS,
    EVERYTHING,
    AuditReport,
    Balance,
    Check,
    CloseHold,
    Earnings,
    Effect,
    Entry,
    Hold,
    HoldState,
    OpenHold,
    Posted,
    ProviderBalance,
    PutRecord,
    Record,
    ReduceHold,
    SetUserActive,
    StatementFilter,
    StatementLine,
    Transaction,
    UpdateRecord,
)
from gollem.units import MAX_ATOMS


@dataclass(slots=True)
class _Account:
    balance_atoms: int = 0
    held_atoms: int = 0
    active: bool = True


_UNUSED = _Account()


class MemoryLedger:
    """Implements `Ledger`, one step at a time."""

    def __init__(self) -> None:
        self._journal: list[tuple[Entry, str]] = []
        self._by_key: dict[str, Entry] = {}
        self._accounts: dict[str, _Account] = {}
        self._holds: dict[str, Hold] = {}
        self._records: dict[tuple[str, str], Record] = {}

    async def post(self, transaction: Transaction) -> Posted:
        check(transaction)
        first = self._by_key.get(transaction.key)
        if first:
            return refusals.replayed(first, transaction.fingerprint)
        refusals.require(transaction, self)
        self._accounts |= self._changed_accounts(transaction)
        for effect in transaction.effects:
            self._apply(effect)
        return Posted(applied=True, entry=self._write(transaction))

    async def balance(self, user: str) -> Balance:
        account = self._accounts.get(accounts.user_account(user), _UNUSED)
        return Balance(account.balance_atoms, account.held_atoms, account.active)

    async def account_atoms(self, account: str) -> int:
        return self.balance_atoms(account)

    async def provider_balance(self, provider: str) -> ProviderBalance:
        first, last = accounts.earnings_range(provider)
        return ProviderBalance(
            sum(account.balance_atoms for name, account in self._accounts.items() if first <= name < last),
            self.balance_atoms(accounts.payable_account(provider)),
            -self.balance_atoms(accounts.provider_debt(provider)),
        )

    async def due_earnings(self, until_day: str, limit: int = 256) -> list[Earnings]:
        return self.due(until_day)[:limit]

    async def find_hold(self, order_id: str) -> Hold | None:
        return self._holds.get(order_id)

    async def find_entry(self, key: str) -> Entry | None:
        return self._by_key.get(key)

    async def find_record(self, kind: str, record_id: str) -> Record | None:
        return self._records.get((kind, record_id))

    async def records(self, kind: str, state: str, after: str = "", limit: int = 256) -> list[Record]:
        require_listed(kind, state)
        found = (record for record in self._records.values() if (record.kind, record.state) == (kind, state))
        return sorted((record for record in found if record.id > after), key=lambda record: record.id)[:limit]

    async def open_holds(self, after: str = "", limit: int = 1_000) -> list[Hold]:
        return [self._holds[order_id] for order_id in sorted(self._open()) if order_id > after][:limit]

    async def expired_holds(self, now_ms: int, limit: int = 256) -> list[Hold]:
        overdue = [self._holds[order_id] for order_id in self._open() if self._holds[order_id].expires_at_ms <= now_ms]
        return sorted(overdue, key=lambda hold: (hold.expires_at_ms, hold.order_id))[:limit]

    async def user_statement(
        self, user: str, cursor: str = "", limit: int = 50, only: StatementFilter = EVERYTHING
    ) -> list[StatementLine]:
        return self._statement(accounts.user_account(user), cursor, limit, only)

    async def provider_statement(
        self, provider: str, cursor: str = "", limit: int = 50, only: StatementFilter = EVERYTHING
    ) -> list[StatementLine]:
        return self._statement(accounts.provider_statement(provider), cursor, limit, only)

    async def audit(self, checks: frozenset[Check] = ALL_CHECKS) -> AuditReport:
        states = (AccountState(name, one.balance_atoms, one.held_atoms) for name, one in self._accounts.items())
        holds = (
            HoldBalance(one.order_id, one.user, one.state, one.remaining_atoms, hold_digest(one))
            for one in self._holds.values()
        )
        return prove(self._journal, states, holds, self._records.values(), checks)

    async def settled_sequence(self) -> int:
        return len(self._journal)

    async def journal(self, after: int, until: int, limit: int = 1_000) -> list[Entry]:
        return [entry for entry, _ in self._journal[after:until]][:limit]

    async def close(self) -> None:
        """Nothing to do."""

    # --- what refusals look at --------------------------------------------------------------------------------------

    def balance_atoms(self, account: str) -> int:
        return self._accounts.get(account, _UNUSED).balance_atoms

    def is_active(self, user: str) -> bool:
        return self._accounts.get(accounts.user_account(user), _UNUSED).active

    def hold(self, order_id: str) -> Hold | None:
        return self._holds.get(order_id)

    def record(self, kind: str, record_id: str) -> Record | None:
        return self._records.get((kind, record_id))

    def due(self, until_day: str) -> list[Earnings]:
        shards: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        for name, account in sorted(self._accounts.items()):
            if name.startswith("PM:") and account.balance_atoms:
                shards[accounts.earnings_of(name)][name] = account.balance_atoms
        due = [Earnings(provider, day, of_day) for (provider, day), of_day in shards.items() if day <= until_day]
        return sorted(due, key=lambda earnings: earnings.day)

    # --- what changes -----------------------------------------------------------------------------------------------

    def _changed_accounts(self, transaction: Transaction) -> dict[str, _Account]:
        """New states of the accounts touched; a hold is its own account. Raises InvariantBroken."""
        changed: dict[str, _Account] = {}
        for name, balance_atoms, held_atoms, active in _changes(transaction):
            old = changed.get(name) or self._accounts.get(name, _UNUSED)
            new = _Account(
                old.balance_atoms + balance_atoms,
                old.held_atoms + held_atoms,
                old.active if active is None else active,
            )
            if abs(new.balance_atoms) >= MAX_ATOMS or not 0 <= new.held_atoms < MAX_ATOMS:
                raise InvariantBroken(f"{transaction.key}: {name} would leave its range")
            changed[name] = new
        return changed

    def _apply(self, effect: Effect) -> None:
        match effect:
            case OpenHold(hold):
                self._holds[hold.order_id] = hold
            case ReduceHold(order_id, _, atoms):
                hold = self._holds[order_id]
                self._holds[order_id] = replace(
                    hold, settled_atoms=hold.settled_atoms + atoms, sequence=hold.sequence + 1
                )
            case CloseHold(order_id, state=state):
                self._holds[order_id] = replace(self._holds[order_id], state=state)
            case PutRecord(record):
                self._records[record.kind, record.id] = record
            case UpdateRecord(kind, record_id, state, fields):
                record = self._records[kind, record_id]
                self._records[kind, record_id] = replace(
                    record, state=state or record.state, fields={**record.fields, **fields}
                )

    def _write(self, transaction: Transaction) -> Entry:
        entry = entry_of(transaction, len(self._journal) + 1)
        self._journal.append((entry, seal(entry)))
        self._by_key[entry.key] = entry
        return entry

    def _open(self) -> list[str]:
        return [order_id for order_id, hold in self._holds.items() if hold.state is HoldState.OPEN]

    def _statement(self, owner: str, cursor: str, limit: int, only: StatementFilter) -> list[StatementLine]:
        before = parse_cursor(cursor)
        lines = [
            StatementLine(cursor_of(number), entry.key, entry.kind, leg.amount_atoms, entry.order_id, entry.at_ms)
            for entry, _ in reversed(self._journal)
            if only.admits(entry.kind, entry.at_ms)
            for place, leg in reversed(list(enumerate(entry.legs)))
            if accounts.statement_of(leg.account, entry.kind) == owner
            and (number := leg_number(entry.sequence, place)) < before
        ]
        return lines[:limit]


def _changes(transaction: Transaction) -> Iterator[tuple[str, int, int, bool | None]]:
    """Account, what is added to its balance and to what is held, and whether it becomes active or frozen."""
    for leg in transaction.legs:
        if not accounts.is_hold(leg.account):
            yield leg.account, leg.amount_atoms, 0, None
    for effect in transaction.effects:
        match effect:
            case OpenHold(hold):
                yield accounts.user_account(hold.user), 0, hold.amount_atoms, None
            case ReduceHold(_, user, atoms) | CloseHold(_, user, atoms):
                yield accounts.user_account(user), 0, -atoms, None
            case SetUserActive(user, active):
                yield accounts.user_account(user), 0, 0, active
