"""What is asked of stores: each operation timed and counted, and the credits that postings of the ledger moved."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast

from gollem.clock import stopwatch_s
from gollem.errors import GollemError
from gollem.ledger import Kind, Ledger, Posted, Transaction
from gollem.observability import Meters, Sample, metrics
from gollem.units import ATOMS_PER_CREDIT

_TIMED = (
    "balance", "provider_balance", "account_atoms", "find_hold", "find_entry", "open_holds", "expired_holds",
    "find_record", "records", "due_earnings", "user_statement", "provider_statement", "audit", "settled_sequence",
    "journal",
)  # fmt: skip
_EARNED = ("PM:", "R:fee:")
# Which legs of a kind of transaction are a flow of credits: by the beginning of the account, what comes in there.
_FLOWS: Mapping[Kind, tuple[tuple[str, tuple[str, ...]], ...]] = {
    Kind.GRANT: (("granted", ("U:",)),),
    Kind.PROMO: (("granted", ("U:",)),),
    Kind.PURCHASE: (("purchased", ("U:", "D:")),),
    Kind.HOLD: (("held", ("H:",)),),
    Kind.PARTIAL_SETTLE: (("charged", _EARNED), ("fee", ("R:fee:",))),
    Kind.SETTLE: (("charged", _EARNED), ("fee", ("R:fee:",)), ("refunded", ("U:",))),
    Kind.VOID: (("refunded", ("U:",)),),
    Kind.EXPIRE: (("refunded", ("U:",)),),
    Kind.MATURE: (("matured", ("P:", "DP:")),),
    Kind.PAYOUT_PAID: (("paid_out", ("A:paid:",)),),
    Kind.REFUND_SUCCEEDED: (("refunded_to_card", ("A:stripe",)),),
    Kind.DISPUTE_WITHDRAWN: (("disputed", ("A:stripe",)),),
}


class LedgerOperations:
    """Counts what is asked of a ledger. Credits are counted as atoms, exactly, and told as credits."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._posted: Counter[Kind] = Counter()
        self._moved_atoms: Counter[str] = Counter()
        meters.read_from("postings", self._samples)

    def of(self, ledger: Ledger) -> Ledger:
        """The same ledger, timed."""
        return cast(Ledger, _TimedLedger(ledger, self))

    def posted(self, transaction: Transaction) -> None:
        """It was written by this server."""
        self._posted[transaction.kind] += 1
        for flow, accounts in _FLOWS.get(transaction.kind, ()):
            for leg in transaction.legs:
                if leg.account.startswith(accounts):
                    self._moved_atoms[flow] += abs(leg.amount_atoms)

    async def timed(self, operation: str, work: Awaitable[Any]) -> Any:
        began, outcome = stopwatch_s(), "ok"
        try:
            return await work
        except GollemError as error:
            outcome = error.reason
            raise
        except BaseException:
            outcome = "INTERNAL"
            raise
        finally:
            self._meters.observe(metrics.LEDGER_SECONDS, stopwatch_s() - began, operation)
            self._meters.count(metrics.LEDGER_CALLS, operation, outcome)

    def _samples(self) -> Iterable[Sample]:
        for kind, count in self._posted.items():
            yield Sample(metrics.TRANSACTIONS, count, (kind.value,))
        for flow, atoms in self._moved_atoms.items():
            yield Sample(metrics.CREDITS, atoms / ATOMS_PER_CREDIT, (flow,))


def redis_timer(meters: Meters) -> Callable[[str, float, str], None]:
    """For `open_shared_book`: operations are its functions and a few commands, outcomes ok or failed."""

    def timed(operation: str, seconds: float, outcome: str) -> None:
        meters.observe(metrics.REDIS_SECONDS, seconds, operation)
        meters.count(metrics.REDIS_CALLS, operation, outcome)

    return timed


class _TimedLedger:
    def __init__(self, ledger: Ledger, operations: LedgerOperations) -> None:
        self._ledger = ledger
        self._operations = operations
        for name in _TIMED:
            setattr(self, name, _timed(name, getattr(ledger, name), operations))

    async def post(self, transaction: Transaction) -> Posted:
        posted: Posted = await self._operations.timed("post", self._ledger.post(transaction))
        if posted.applied:
            self._operations.posted(transaction)
        return posted

    async def close(self) -> None:
        await self._ledger.close()


def _timed(
    name: str, operation: Callable[..., Awaitable[Any]], operations: LedgerOperations
) -> Callable[..., Awaitable[Any]]:
    def call(*arguments: Any, **named: Any) -> Awaitable[Any]:
        return operations.timed(name, operation(*arguments, **named))

    return call
