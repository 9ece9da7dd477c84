"""Balances, statements, limits and operators' grants."""

from dataclasses import dataclass

from gollem.clock import Clock
from gollem.exchange.spending import Spending, SpendLimit
from gollem.ledger import (
    AuditReport,
    Balance,
    Ledger,
    LowBalanceWatch,
    StatementFilter,
    StatementLine,
    accounts,
    rules,
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What an account has as a consumer, and what it has earned as a provider."""

    balance: Balance
    earned_atoms: int
    debt_atoms: int


class Accounts:
    def __init__(self, ledger: Ledger, watch: LowBalanceWatch, spending: Spending, clock: Clock) -> None:
        self._ledger = ledger
        self._watch = watch
        self._spending = spending
        self._clock = clock

    async def standing(self, account: str) -> Standing:
        earnings = await self._ledger.provider_balance(account)
        debt_atoms = -await self._ledger.account_atoms(accounts.user_debt(account))
        return Standing(await self._ledger.balance(account), earnings.earned_atoms, debt_atoms)

    async def statement(
        self, account: str, selling: bool, cursor: str, limit: int, only: StatementFilter
    ) -> list[StatementLine]:
        """Movements of the account, newest first: earnings if `selling`, else what it spent and received.

        Raises InvalidField for a cursor that no page gave."""
        if selling:
            return await self._ledger.provider_statement(account, cursor, limit, only)
        return await self._ledger.user_statement(account, cursor, limit, only)

    async def grant(self, grant_id: str, account: str, amount_atoms: int) -> bool:
        """Give an account credits. False if this grant was made before. Raises KeyReused."""
        return (await self._ledger.post(rules.grant(grant_id, account, amount_atoms, self._clock.now_ms()))).applied

    async def alert_below(self, account: str, threshold_atoms: int) -> None:
        """One alert each time the account has fewer credits than that. Raises StaleRead if two set it at once."""
        await self._watch.watch_user(account, threshold_atoms)

    async def spend_limit(self, account: str) -> SpendLimit:
        return await self._spending.find(account)

    async def limit_spending(
        self, account: str, day_limit_atoms: int | None, month_limit_atoms: int | None
    ) -> SpendLimit:
        """0: no limit; None: as it is. Holds beyond it are refused from now on here, and within a second on other
        servers."""
        return await self._spending.set(account, day_limit_atoms, month_limit_atoms)

    async def audit(self) -> AuditReport:
        return await self._ledger.audit()
