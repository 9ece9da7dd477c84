"""Balances, statements and operators' grants."""

from dataclasses import dataclass

from gollem.clock import Clock
from gollem.ledger import AuditReport, Balance, Ledger, StatementFilter, StatementLine, rules


@dataclass(frozen=True, slots=True)
class Standing:
    """What an account has as a consumer, and what it has earned as a provider."""

    balance: Balance
    earned_atoms: int


class Accounts:
    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def standing(self, account: str) -> Standing:
        earnings = await self._ledger.provider_balance(account)
        return Standing(await self._ledger.balance(account), earnings.earned_atoms)

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

    async def audit(self) -> AuditReport:
        return await self._ledger.audit()
