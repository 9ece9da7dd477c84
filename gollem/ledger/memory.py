"""The ledger in a few dictionaries: the model that the tests compare every backend with. Keeps nothing on disk."""

from dataclasses import dataclass, replace

from gollem.errors import InvariantBroken
from gollem.ledger import checks
from gollem.ledger.accounts import earnings_range, is_hold, provider_statement, statement_of, user_account
from gollem.ledger.audit import AccountState, HoldBalance, prove, seal
from gollem.ledger.types import (
    AuditReport,
    AvailableAtLeast,
    Balance,
    Entry,
    Guard,
    Hold,
    HoldOpen,
    HoldState,
    OpenHold,
    Posted,
    StatementLine,
    Transaction,
    UserActive,
)
from gollem.units import MAX_ATOMS


@dataclass(slots=True)
class _Account:
    balance_atoms: int = 0
    held_atoms: int = 0
    active: bool = True


class MemoryLedger:
    """Implements `Ledger`, one step at a time."""

    def __init__(self) -> None:
        self._journal: list[tuple[Entry, str]] = []
        self._by_key: dict[str, Entry] = {}
        self._accounts: dict[str, _Account] = {}
        self._holds: dict[str, Hold] = {}

    async def post(self, transaction: Transaction) -> Posted:
        checks.check(transaction)
        first = self._by_key.get(transaction.key)
        if first:
            return checks.replayed(first, transaction)
        for guard in transaction.guards:
            self._require(guard)
        changed = self._changed_accounts(transaction)
        self._accounts |= changed
        self._apply_effects(transaction)
        return Posted(applied=True, entry=self._write(transaction))

    async def balance(self, user: str) -> Balance:
        account = self._accounts.get(user_account(user), _Account())
        return Balance(account.balance_atoms, account.held_atoms, account.active)

    async def earned_atoms(self, provider: str) -> int:
        first, last = earnings_range(provider)
        return sum(account.balance_atoms for name, account in self._accounts.items() if first <= name < last)

    async def find_hold(self, order_id: str) -> Hold | None:
        return self._holds.get(order_id)

    async def find_entry(self, key: str) -> Entry | None:
        return self._by_key.get(key)

    async def open_holds(self, after: str = "", limit: int = 1_000) -> list[Hold]:
        return [self._holds[order_id] for order_id in sorted(self._open()) if order_id > after][:limit]

    async def expired_holds(self, now_ms: int, limit: int = 256) -> list[Hold]:
        overdue = [self._holds[order_id] for order_id in self._open() if self._holds[order_id].expires_at_ms <= now_ms]
        return sorted(overdue, key=lambda hold: (hold.expires_at_ms, hold.order_id))[:limit]

    async def user_statement(self, user: str, before: int | None = None, limit: int = 50) -> list[StatementLine]:
        return self._statement(user_account(user), before, limit)

    async def provider_statement(
        self, provider: str, before: int | None = None, limit: int = 50
    ) -> list[StatementLine]:
        return self._statement(provider_statement(provider), before, limit)

    async def audit(self) -> AuditReport:
        accounts = (AccountState(name, one.balance_atoms, one.held_atoms) for name, one in self._accounts.items())
        holds = (HoldBalance(one.order_id, one.user, one.state, one.remaining_atoms) for one in self._holds.values())
        return prove(self._journal, accounts, holds)

    async def close(self) -> None:
        """Nothing to do."""

    def _require(self, guard: Guard) -> None:
        match guard:
            case UserActive(user):
                if not self._accounts.get(user_account(user), _Account()).active:
                    raise checks.frozen(user)
            case AvailableAtLeast(user, atoms):
                available = self._accounts.get(user_account(user), _Account()).balance_atoms
                if available < atoms:
                    raise checks.insufficient(atoms, available)
            case HoldOpen(order_id):
                hold = self._holds.get(order_id)
                if not checks.meets(hold, guard):
                    raise checks.hold_closed(order_id, hold)

    def _changed_accounts(self, transaction: Transaction) -> dict[str, _Account]:
        """New states of the accounts touched; a hold is its own account. Raises InvariantBroken."""
        changed: dict[str, _Account] = {}

        def change(name: str, balance_atoms: int = 0, held_atoms: int = 0) -> None:
            old = changed.get(name) or self._accounts.get(name, _Account())
            new = replace(old, balance_atoms=old.balance_atoms + balance_atoms, held_atoms=old.held_atoms + held_atoms)
            if abs(new.balance_atoms) >= MAX_ATOMS or not 0 <= new.held_atoms < MAX_ATOMS:
                raise InvariantBroken(f"{transaction.key}: {name} would leave its range")
            changed[name] = new

        for leg in transaction.legs:
            if not is_hold(leg.account):
                change(leg.account, balance_atoms=leg.amount_atoms)
        for effect in transaction.effects:
            if isinstance(effect, OpenHold):
                if effect.hold.order_id in self._holds:
                    raise InvariantBroken(f"{transaction.key}: the order has a hold already")
                change(user_account(effect.hold.user), held_atoms=effect.hold.amount_atoms)
            else:
                if self._holds[effect.order_id].user != effect.user:
                    raise InvariantBroken(f"{transaction.key}: the hold is of another user")
                change(user_account(effect.user), held_atoms=-effect.amount_atoms)
        return changed

    def _apply_effects(self, transaction: Transaction) -> None:
        for effect in transaction.effects:
            if isinstance(effect, OpenHold):
                self._holds[effect.hold.order_id] = effect.hold
            else:
                self._holds[effect.order_id] = replace(self._holds[effect.order_id], state=effect.state)

    def _write(self, transaction: Transaction) -> Entry:
        entry = checks.entry_of(transaction, len(self._journal) + 1)
        self._journal.append((entry, seal(entry)))
        self._by_key[entry.key] = entry
        return entry

    def _open(self) -> list[str]:
        return [order_id for order_id, hold in self._holds.items() if hold.state is HoldState.OPEN]

    def _statement(self, owner: str, before: int | None, limit: int) -> list[StatementLine]:
        lines = [
            StatementLine(
                checks.leg_number(entry.sequence, place),
                entry.key,
                entry.kind,
                leg.amount_atoms,
                entry.order_id,
                entry.at_ms,
            )
            for entry, _ in self._journal
            for place, leg in enumerate(entry.legs)
            if statement_of(leg.account) == owner
        ]
        return [line for line in reversed(lines) if before is None or line.cursor < before][:limit]
