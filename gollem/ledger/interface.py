"""The ledger's promise, whichever store keeps it."""

from typing import Protocol

from gollem.ledger.types import (
    ALL_CHECKS,
    EVERYTHING,
    AuditReport,
    Balance,
    Check,
    Earnings,
    Entry,
    Hold,
    Posted,
    ProviderBalance,
    Record,
    StatementFilter,
    StatementLine,
    Transaction,
)


class Ledger(Protocol):
    """Double entry, all or nothing, each key once for ever, durable before it answers.

    Every method may raise `LedgerUnavailable` (nothing was written) or `OutcomeUnknown` (repeat the same call).

    Over a network a refusal is about the moment it was made: a request of the same call that was lost on its way may
    still arrive, and be written, if by then every guard holds. Then its key is there: a retry is answered `exists`, and
    a hold that nobody serves expires."""

    async def post(self, transaction: Transaction) -> Posted:
        """Write the transaction if every guard holds.

        The same key and fingerprint again: `Posted(applied=False, entry=<the first>)`, whatever the guards would say
        now. Raises KeyReused (same key, other fingerprint); InsufficientCredits, StaleRead, AccountFrozen,
        HoldClosed, WrongState (a guard); `InvariantBroken` for a transaction that does not sum to zero or leaves the
        range, before the store is touched.
        """

    async def balance(self, user: str) -> Balance:
        """What the user has."""

    async def provider_balance(self, provider: str) -> ProviderBalance:
        """What the provider has."""

    async def account_atoms(self, account: str) -> int:
        """The balance of any account but an escrow; 0 if it was never used. See `accounts` for their names."""

    async def find_hold(self, order_id: str) -> Hold | None: ...

    async def find_entry(self, key: str) -> Entry | None: ...

    async def open_holds(self, after: str = "", limit: int = 1_000) -> list[Hold]:
        """Open holds by order_id, those after `after`."""

    async def expired_holds(self, now_ms: int, limit: int = 256) -> list[Hold]:
        """Open holds whose deadline has passed, the oldest deadline first."""

    async def find_record(self, kind: str, record_id: str) -> Record | None: ...

    async def records(self, kind: str, state: str, after: str = "", limit: int = 256) -> list[Record]:
        """Records of a kind in a state that waits for something (`records.is_listed`), by id, those after `after`."""

    async def due_earnings(self, until_day: str, limit: int = 256) -> list[Earnings]:
        """Earnings of days up to and with `until_day` (yyyymmdd) that have not matured, the oldest day first."""

    async def user_statement(
        self, user: str, cursor: str = "", limit: int = 50, only: StatementFilter = EVERYTHING
    ) -> list[StatementLine]:
        """The user's movements, newest first, debt among them: all amounts sum to what is available less the debt.

        `cursor` is that of the last line of the page before. Raises InvalidField for one that cannot be."""

    async def provider_statement(
        self, provider: str, cursor: str = "", limit: int = 50, only: StatementFilter = EVERYTHING
    ) -> list[StatementLine]:
        """The provider's movements, in the same form: all amounts sum to what was earned and not paid, less the debt.
        Maturing moves nothing that is the provider's, and is not shown."""

    async def audit(self, checks: frozenset[Check] = ALL_CHECKS) -> AuditReport:
        """Prove the books: every transaction sums to zero, the trial balance is zero, every balance is the sum of its
        legs, held equals open holds, what is closed holds nothing. While others write, without a false alarm."""

    async def settled_sequence(self) -> int:
        """No entry will come any more whose sequence is this or less."""

    async def journal(self, after: int, until: int, limit: int = 1_000) -> list[Entry]:
        """Entries by sequence, those above `after` up to and with `until`."""

    async def close(self) -> None:
        """Finish what is queued, then close. Idempotent."""
