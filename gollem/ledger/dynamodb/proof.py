"""The audit on DynamoDB: one scan, in pages, of a table that moves meanwhile.

A scan is no snapshot: an entry may be read and the account that it moved not yet, or the other way. So whatever does
not agree with the entries known is looked at again, a few times and some time apart, always the entries first, which
come by their index (`looks` has the rule). Only what stood still from one look to the next, and differs by the same
amount in two, is a finding. An account that never stands still is compared by its sums of past minutes.

An index may show the newest entries late: where an account has taken more of them than are known, this is nothing yet,
and the next audit sees it. Entries are numbered by the table's time (`pace`): older ones than `MARGIN_MS` were there
before the scan began, whatever the clocks of the machines say.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from gollem.clock import DAY_MS, Clock, utc_day
from gollem.errors import InvariantBroken
from gollem.ledger.audit import ACCOUNT_OF, Proof, bound_findings
from gollem.ledger.dynamodb import items, queries
from gollem.ledger.dynamodb.client import Client
from gollem.ledger.dynamodb.items import DATED, DATED_BY, Item, text
from gollem.ledger.dynamodb.looks import NOTHING, AccountLook, HoldLook, Journal, RecordLook
from gollem.ledger.dynamodb.pace import MARGIN_MS, latest_ms
from gollem.ledger.dynamodb.shown import Shown
from gollem.ledger.records import PAYOUT, REFUND
from gollem.ledger.types import ALL_CHECKS, AuditReport, Check, HoldState, Record

_TURNS = 5
_FIRST_WAIT_S = 0.05
_LATE_MS = 360_000  # how much a machine's clock may differ from ours (AWS refuses more than five minutes), and an index
_KIND_OF = {"PO:": PAYOUT, "RF:": REFUND}  # by account, of the record that it belongs to
_CHECK_OF = {
    "T": Check.TRANSACTIONS,
    "A": Check.BALANCES,
    "PM": Check.BALANCES,
    "H": Check.HOLDS,
    "R": Check.BALANCES,
    "L": Check.BALANCES,
}
T = TypeVar("T")
Look = AccountLook | HoldLook | RecordLook


async def audit(client: Client, clock: Clock, checks: frozenset[Check] = ALL_CHECKS) -> AuditReport:
    """Reads the whole table once. Memory: accounts, open holds, records of payments, the keys of the last minutes'
    entries, and during the scan the holds of which not all entries were read yet."""
    from_ms = max(min(clock.now_ms(), await latest_ms(client) or clock.now_ms()) - MARGIN_MS, 0)
    books = _Books(items.first_number(from_ms), Proof(checks, is_snapshot=False))
    async for page in queries.pages(client, "scan", ConsistentRead=True):
        for item in page:
            books.take(item)
    for turn in range(_TURNS):
        books.compare(_recent(clock))
        doubtful = books.doubtful()
        if not doubtful:
            break
        await asyncio.sleep(_FIRST_WAIT_S * 2**turn if turn else 0)
        await _read_newer(client, books, from_ms, clock.now_ms())
        await _look_again(client, books, doubtful)
    books.compare(_recent(clock))
    return books.report()


def _recent(clock: Clock) -> frozenset[int]:
    """The slots of entries that an index may still be hiding."""
    now_ms = clock.now_ms()
    return frozenset(
        items.slot_of(items.first_number(at_ms)) for at_ms in range(now_ms - _LATE_MS, now_ms + MARGIN_MS, MARGIN_MS)
    )


async def _read_newer(client: Client, books: "_Books", from_ms: int, to_ms: int) -> None:
    """The entries that may have come since the scan began."""
    days = _days(from_ms, max(to_ms, await latest_ms(client)))
    found = await asyncio.gather(
        *(
            queries.all_of(
                client,
                IndexName=DATED,
                KeyConditionExpression=f"{DATED} = :pk AND {DATED_BY} >= :since",
                ExpressionAttributeValues={":pk": text(pk), ":since": text(items.date(books.since))},
            )
            for day in days
            for pk in items.journal_pks(day)
        )
    )
    new = [item for shard in found for item in shard if items.name_of(item) not in books.newer]
    for item in await queries.look_up(client, new):
        books.take(item)


def _days(from_ms: int, to_ms: int) -> Iterator[str]:
    for day in range(from_ms // DAY_MS, to_ms // DAY_MS + 1):
        yield utc_day(day * DAY_MS)


async def _look_again(client: Client, books: "_Books", doubtful: list[Look]) -> None:
    found = {items.name_of(item): item for item in await queries.look_up(client, (look.key for look in doubtful))}
    for look in doubtful:
        books.read(look, found.get(items.name_of(look.key)))


class _Books:
    """All that was read, and what became of each thing: its difference once it agreed, or those of the last turns."""

    def __init__(self, since: int, proof: Proof) -> None:
        self.since = since
        self.newer: set[str] = set()  # entries from `since` on: the scan and the index both find them
        self._proof = proof
        self._journal = Journal()
        self._shown = Shown(since)
        self._accounts: dict[str, AccountLook] = {}
        self._holds: dict[str, HoldLook] = {}
        self._payments: dict[str, RecordLook] = {}  # by account
        self._records: list[Record] = []
        self._closed = 0
        self._settled: dict[Look, Any] = {}  # what agreed, and by how much it differs in itself
        self._damaged: set[Look] = set()  # and named: nothing else is concluded from them
        self._before: dict[Look, Any] = {}
        self._last: dict[Look, Any] = {}

    # --- reading ----------------------------------------------------------------------------------------------------

    def take(self, item: Item) -> None:
        """Whatever it is. An item that is damaged is named, and nothing is concluded from it."""
        pk = items.name_of(item)
        try:
            if pk.startswith("T#"):
                self._take_entry(item)
            elif pk.startswith(("A#", "PM#")):
                self._take_account(item)
            elif pk.startswith("H#"):
                self._take_hold(item)
            elif pk.startswith("R#"):
                self._take_record(item)
            elif pk.startswith("L#"):
                self._shown.add_lines(item)
        except InvariantBroken as error:
            self._proof.find(_CHECK_OF[pk.partition("#")[0]], error.message)

    def read(self, look: Look, item: Item | None) -> None:
        """As it is now."""
        try:
            look.read(item)
        except InvariantBroken as error:
            self._proof.find(_CHECK_OF[items.name_of(look.key).partition("#")[0]], error.message)
            self._settled[look] = _nothing(look)
            self._damaged.add(look)

    def _take_entry(self, item: Item) -> None:
        entry, seal, also = items.read_sealed(item)
        name = items.name_of(item)
        if name in self.newer:
            return
        if entry.sequence >= self.since:
            self.newer.add(name)
        self._require_listed(item, Check.TRANSACTIONS, items.entry_index(entry))
        self._proof.replay([(entry, seal)])
        self._journal.add(entry, also)
        self._shown.add_entry(entry)

    def _take_account(self, item: Item) -> None:
        name = items.read_account_name(item)
        look = self._accounts[name] = AccountLook(name)
        self.read(look, item)
        if name.startswith("PM:") and look not in self._damaged and items.integer(item, "balance"):
            self._require_listed(item, Check.BALANCES, items.earnings_index(name))

    def _take_hold(self, item: Item) -> None:
        name = f"H:{items.name_of(item)[2:]}"
        look = HoldLook(name)
        self.read(look, item)
        if look in self._damaged:
            self._holds[name] = look
            return
        hold = items.read_hold(item)
        if hold.state is HoldState.OPEN:
            self._require_listed(item, Check.HOLDS, items.hold_index(hold))
        elif not self._journal.escrow_atoms(name) and not items.integer(item, "remaining"):
            self._closed += 1
            return
        self._holds[name] = look

    def _take_record(self, item: Item) -> None:
        record = items.read_record(item)
        self._require_listed(item, Check.BALANCES, items.record_index(record))
        if record.kind in ACCOUNT_OF:
            look = RecordLook(record.kind, record.id)
            self._payments[look.account] = look
            self.read(look, item)
        else:
            self._records.append(record)

    def _require_listed(self, item: Item, check: Check, index: Item) -> None:
        """What is in no index is found by nobody: a hold would never expire, earnings never mature."""
        if any(item.get(name) != value for name, value in index.items()):
            self._proof.find(check, f"{items.name_of(item)}: is not in its index, where it is looked for")

    # --- comparing --------------------------------------------------------------------------------------------------

    def compare(self, recent: frozenset[int]) -> None:
        """Everything with the entries known now. What agrees once is settled."""
        self._add_what_the_journal_names()
        left = self._unsettled()
        lacking = {
            name
            for name, look in self._accounts.items()
            if look not in self._settled and look.lacking(self._journal, recent)
        }
        self._before, self._last = self._last, {look: self._difference(look, recent, lacking) for look in left}
        self._settled |= {look: self._last[look] for look in left if look.agrees(self._journal)}

    def doubtful(self) -> list[Look]:
        """What to read again. With a hold or a payment its account: whether all entries are known shows there."""
        doubtful = self._unsettled()
        names = {self._account_of(look) for look in doubtful if not isinstance(look, AccountLook)}
        for look in map(self._accounts.get, names):
            if look and look not in self._damaged:
                self._settled.pop(look, None)
        return self._unsettled()

    def _unsettled(self) -> list[Look]:
        looks: list[Look] = [*self._accounts.values(), *self._holds.values(), *self._payments.values()]
        return [look for look in looks if look not in self._settled]

    def _account_of(self, look: HoldLook | RecordLook) -> str:
        return look.account(self._journal) if isinstance(look, HoldLook) else look.account

    def _add_what_the_journal_names(self) -> None:
        for name in self._journal.accounts.keys() - self._accounts.keys():
            self._accounts[name] = AccountLook(name)
        for name in self._journal.escrows.keys() - self._holds.keys():
            self._holds[name] = HoldLook(name)
        for name in self._accounts.keys() - self._payments.keys():
            kind = _KIND_OF.get(name[:3])
            if kind and self._journal.of(name).atoms:
                self._payments[name] = RecordLook(kind, name[3:])

    def _difference(self, look: Look, recent: frozenset[int], lacking: set[str]) -> Any:
        if isinstance(look, AccountLook):
            return look.differs(self._journal, recent)
        return 0 if self._account_of(look) in lacking else look.differs(self._journal)

    def _proven(self, look: Look) -> Any:
        """By how much it differs: what stood still, and was the same at the last two turns."""
        if look in self._settled:
            return self._settled[look]
        last = self._last[look]
        return last if self._before.get(look) == last else _nothing(look)

    def report(self) -> AuditReport:
        """Everything as the journal has it, and what was proven to differ from it."""
        journal, proof = self._journal, self._proof
        for name, look in self._accounts.items():
            difference = self._proven(look)
            if difference.entries and not difference.atoms and not difference.held:
                proof.find(Check.BALANCES, f"{name}: counts {difference.entries:+} entries beside those of the journal")
            proof.find(Check.BALANCES, *bound_findings(name, look.balance_atoms))
            proof.compare_accounts([look.state(journal, difference)])
        proof.compare_holds(_there(look.state(journal, self._proven(look)) for look in self._holds.values()))
        proof.note_accounts(self._closed)
        payments = _there(look.state(journal, self._proven(look)) for look in self._payments.values())
        proof.compare_records([*self._records, *payments])
        proof.find(Check.BALANCES, *self._shown.findings(self.newer))
        return proof.report()


def _nothing(look: Look) -> Any:
    return NOTHING if isinstance(look, AccountLook) else 0


def _there(found: Iterable[T | None]) -> Iterator[T]:
    return (one for one in found if one is not None)
