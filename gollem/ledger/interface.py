"""The ledger's promise, whichever store keeps it."""

from typing import Protocol

from gollem.ledger.types import AuditReport, Balance, Entry, Hold, Posted, StatementLine, Transaction


class Ledger(Protocol):
    """Double entry, all or nothing, each key once for ever, durable before it answers.

    Every method may raise `LedgerUnavailable` (nothing was written) or `OutcomeUnknown` (repeat the same call)."""

    async def post(self, transaction: Transaction) -> Posted:
        """Write the transaction if every guard holds.

        The same key and fingerprint again: `Posted(applied=False, entry=<the first>)`, whatever the guards would say
        now. Raises KeyReused (same key, other fingerprint), InsufficientCredits, AccountFrozen, HoldClosed;
        `InvariantBroken` for a transaction that does not sum to zero or leaves the range, before the store is touched.
        """

    async def balance(self, user: str) -> Balance:
        """What the user has."""

    async def earned_atoms(self, provider: str) -> int:
        """What the provider has earned and not been paid."""

    async def find_hold(self, order_id: str) -> Hold | None: ...

    async def find_entry(self, key: str) -> Entry | None: ...

    async def open_holds(self, after: str = "", limit: int = 1_000) -> list[Hold]:
        """Open holds by order_id, those after `after`."""

    async def expired_holds(self, now_ms: int, limit: int = 256) -> list[Hold]:
        """Open holds whose deadline has passed, the oldest deadline first."""

    async def user_statement(self, user: str, before: int | None = None, limit: int = 50) -> list[StatementLine]:
        """The user's movements, newest first; `before` is the cursor of the last line of the page before."""

    async def provider_statement(
        self, provider: str, before: int | None = None, limit: int = 50
    ) -> list[StatementLine]:
        """The provider's movements, in the same form."""

    async def audit(self) -> AuditReport:
        """Prove the books: every transaction sums to zero, the trial balance is zero, every balance is the sum of its
        legs, held equals open holds."""

    async def close(self) -> None:
        """Finish what is queued, then close. Idempotent."""
