"""The ledger on DynamoDB, whole: opened by its URL, one client a process."""

from gollem.clock import Clock, SystemClock
from gollem.dynamodb_url import Address, address_of
from gollem.errors import LedgerUnavailable
from gollem.ledger.accounts import provider_statement, user_account
from gollem.ledger.checks import check
from gollem.ledger.dynamodb import items, proof, reads, statements
from gollem.ledger.dynamodb.client import Client, Retries
from gollem.ledger.dynamodb.table import create_table
from gollem.ledger.dynamodb.writer import MAX_GROUP, Writer
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


class DynamoDBLedger:
    """Implements `Ledger`. Made by `open_dynamodb`; lives on the event loop it was opened on."""

    def __init__(self, client: Client, clock: Clock, *, read_only: bool = False, max_group: int = MAX_GROUP) -> None:
        self.client = client
        self._clock = clock
        self._writer = Writer(client, clock, max_group=max_group)
        self._read_only = read_only
        self._closed = False

    def __repr__(self) -> str:
        return f"DynamoDBLedger({self.client!r})"

    async def post(self, transaction: Transaction) -> Posted:
        check(transaction)
        if self._read_only:
            raise LedgerUnavailable("the ledger is open for reading only")
        return await self._writer.post(transaction)

    async def balance(self, user: str) -> Balance:
        return await reads.balance(self._open(), user)

    async def provider_balance(self, provider: str) -> ProviderBalance:
        return await reads.provider_balance(self._open(), provider)

    async def account_atoms(self, account: str) -> int:
        return await reads.account_atoms(self._open(), account)

    async def find_hold(self, order_id: str) -> Hold | None:
        return await reads.find_hold(self._open(), order_id)

    async def find_entry(self, key: str) -> Entry | None:
        return await reads.find_entry(self._open(), key)

    async def open_holds(self, after: str = "", limit: int = 1_000) -> list[Hold]:
        return await reads.open_holds(self._open(), after, limit)

    async def expired_holds(self, now_ms: int, limit: int = 256) -> list[Hold]:
        return await reads.expired_holds(self._open(), now_ms, limit)

    async def find_record(self, kind: str, record_id: str) -> Record | None:
        return await reads.find_record(self._open(), kind, record_id)

    async def records(self, kind: str, state: str, after: str = "", limit: int = 256) -> list[Record]:
        return await reads.records(self._open(), kind, state, after, limit)

    async def due_earnings(self, until_day: str, limit: int = 256) -> list[Earnings]:
        return await reads.due_earnings(self._open(), until_day, limit)

    async def user_statement(
        self, user: str, cursor: str = "", limit: int = 50, only: StatementFilter = EVERYTHING
    ) -> list[StatementLine]:
        return await statements.statement(self._open(), user_account(user), cursor, limit, only)

    async def provider_statement(
        self, provider: str, cursor: str = "", limit: int = 50, only: StatementFilter = EVERYTHING
    ) -> list[StatementLine]:
        return await statements.statement(self._open(), provider_statement(provider), cursor, limit, only)

    async def audit(self, checks: frozenset[Check] = ALL_CHECKS) -> AuditReport:
        return await proof.audit(self._open(), self._clock, checks)

    async def settled_sequence(self) -> int:
        return items.first_number(await self._writer.pace.closed_ms()) - 1

    async def journal(self, after: int, until: int, limit: int = 1_000) -> list[Entry]:
        return await reads.journal(self._open(), after, until, limit)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._writer.drain()
            await self.client.close()

    def _open(self) -> Client:
        if self._closed:
            raise LedgerUnavailable("the ledger is closed")
        return self.client


def parse_url(url: str) -> Address:
    """`dynamodb://table?endpoint=http://127.0.0.1:8000&region=eu-west-1`. Raises LedgerUnavailable."""
    address = address_of(url)
    if address is None:
        raise LedgerUnavailable(f"{url!r} is no table: such as dynamodb://gollem?region=eu-west-1")
    return address


async def open_dynamodb(
    url: str,
    *,
    read_only: bool = False,
    retries: Retries | None = None,
    clock: Clock | None = None,
    read_timeout_s: float = 5,
    max_group: int = MAX_GROUP,
) -> DynamoDBLedger:
    """Raises LedgerUnavailable if the table cannot be reached or is not there."""
    clock = clock or SystemClock()
    client = Client(parse_url(url), retries, clock, read_timeout_s)
    await client.open()
    try:
        await client.read("describe_table")
    except BaseException:
        await client.close()
        raise
    return DynamoDBLedger(client, clock, read_only=read_only, max_group=max_group)


async def create_dynamodb(url: str, *, stream: bool = True) -> list[str]:
    """Make the table; what was done and what could not be, a line each. Raises LedgerUnavailable."""
    client = Client(parse_url(url))
    await client.open()
    try:
        return await create_table(client, stream=stream)
    finally:
        await client.close()
