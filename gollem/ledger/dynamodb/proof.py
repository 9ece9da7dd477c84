"""The audit on DynamoDB: one scan, in pages, of a table that moves meanwhile.

A scan is no snapshot: an entry may be read and the account that it moved not yet, or the other way. An account counts
the entries that moved it, so it is known when a balance and the entries read belong together. Where they do not, the
entries that came meanwhile are found by their index and the account is read again; what came after that is added to it.
What moves faster than it can be read is left to the next audit; what stands still and differs is a finding.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from gollem.clock import Clock, utc_day
from gollem.ledger.accounts import is_hold
from gollem.ledger.audit import AccountState, HoldBalance, Proof
from gollem.ledger.dynamodb import items, queries
from gollem.ledger.dynamodb.client import Client
from gollem.ledger.dynamodb.items import DATED, DATED_BY, Item, text
from gollem.ledger.types import ALL_CHECKS, AuditReport, Check, Entry, Hold, HoldState, Record

_TURNS = 5
_FIRST_WAIT_S = 0.05
MARGIN_MS = 60_000  # longer than any call: what is older was written before the scan began
_MS_PER_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class _Newer:
    """An entry that may have come during the scan."""

    entry: Entry
    seal: str
    accounts: frozenset[str]
    user: str  # the account whose held memo its escrow moves


@dataclass(slots=True)
class _Read:
    """An account or a hold as it was last read. `known` is how many newer entries were known when it was settled."""

    value: AccountState | HoldBalance
    entries: int = 0
    known: int | None = None
    moves: bool = False  # it changed between the last two looks


@dataclass(slots=True)
class _Books:
    """All that was read, without the older entries: those are proven and forgotten."""

    since: int
    newer: dict[str, _Newer] = field(default_factory=dict)
    moved: Counter[str] = field(default_factory=Counter)  # account -> entries read
    escrow: dict[str, int] = field(default_factory=dict)  # open hold -> sum of its legs read
    accounts: dict[str, _Read] = field(default_factory=dict)
    holds: dict[str, _Read] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    records: list[Record] = field(default_factory=list)

    def count(self, accounts: Iterable[str], entry: Entry) -> None:
        self.moved.update(accounts)
        for leg in entry.legs:
            if is_hold(leg.account):
                atoms = self.escrow.pop(leg.account, 0) + leg.amount_atoms
                if atoms:
                    self.escrow[leg.account] = atoms

    def add(self, newer: _Newer) -> None:
        if newer.entry.key not in self.newer:
            self.newer[newer.entry.key] = newer
            self.count(newer.accounts, newer.entry)

    def settle(self) -> list[Item]:
        """Mark what agrees with the entries known now; the keys of the rest, to be read again."""
        known = len(self.newer)
        for name, read in self.accounts.items():
            if read.known is None and read.entries == self.moved[name]:
                read.known = known
        for name, read in self.holds.items():
            assert isinstance(read.value, HoldBalance)
            if read.known is None and read.value.remaining_atoms == self.escrow.get(name, 0):
                read.known = known
        keys = [items.account_key(name) for name, read in self.accounts.items() if read.known is None]
        keys += [items.account_key(name) for name in self.moved if name not in self.accounts]
        keys += [items.hold_key(name[2:]) for name, read in self.holds.items() if read.known is None]
        return keys + [items.hold_key(name[2:]) for name in self.escrow if name not in self.holds]


async def audit(client: Client, clock: Clock, checks: frozenset[Check] = ALL_CHECKS) -> AuditReport:
    """Reads the whole table once. Memory: accounts, open holds, records, and the entries of the last minutes."""
    proof = Proof(checks)
    started_ms = clock.now_ms()
    books = _Books(items.first_number(started_ms - MARGIN_MS))
    async for page in queries.pages(client, "scan", ConsistentRead=True):
        for item in page:
            _take(item, books, proof)
    for turn in range(_TURNS):
        unsettled = books.settle()
        if not unsettled:
            break
        await asyncio.sleep(_FIRST_WAIT_S * 2**turn if turn else 0)
        await _look_again(client, books, unsettled, started_ms, clock.now_ms())
    books.settle()
    _prove(books, proof)
    return proof.report()


def _take(item: Item, books: _Books, proof: Proof) -> None:
    pk = item["pk"]["S"]
    if pk.startswith("T#"):
        _take_entry(item, books, proof)
    elif pk.startswith(("A#", "PM#")):
        _take_account(item, books)
    elif pk.startswith("H#"):
        _take_hold(items.read_hold(item), items.integer(item, "remaining"), books)
    elif pk.startswith("R#"):
        books.records.append(items.read_record(item))


def _take_entry(item: Item, books: _Books, proof: Proof) -> None:
    entry, seal = items.read_entry(item), item["seal"]["S"]
    also = item["also"]["S"] if "also" in item else ""
    accounts = [leg.account for leg in entry.legs if not is_hold(leg.account)] + ([also] if also else [])
    if entry.sequence < books.since:
        proof.replay([(entry, seal)])
        books.count(accounts, entry)
    else:
        user = also or next((name for name in accounts if name.startswith("U:")), "")
        books.add(_Newer(entry, seal, frozenset(accounts), user))


def _take_account(item: Item, books: _Books) -> None:
    name, entries = items.read_account_name(item), items.integer(item, "entries")
    before = books.accounts.get(name)
    state = AccountState(name, items.integer(item, "balance"), items.integer(item, "held"))
    books.accounts[name] = _Read(state, entries, moves=before is not None and before.entries != entries)


def _take_hold(hold: Hold, remaining_atoms: int, books: _Books) -> None:
    name = f"H:{hold.order_id}"
    if hold.state is not HoldState.OPEN and not remaining_atoms and name not in books.holds:
        books.closed.add(name)
        if name not in books.escrow:
            return
    before = books.holds.get(name)
    balance = HoldBalance(hold.order_id, hold.user, hold.state, remaining_atoms)
    books.closed.discard(name)
    books.holds[name] = _Read(balance, moves=before is not None and before.value != balance)


async def _look_again(client: Client, books: _Books, keys: list[Item], from_ms: int, to_ms: int) -> None:
    """Entries first, then what they moved: so a count that is too low shows, and is looked at again."""
    pks = [pk for day in _days(from_ms - MARGIN_MS, to_ms) for pk in items.journal_pks(day)]
    found = await asyncio.gather(
        *(
            queries.all_of(
                client,
                IndexName=DATED,
                KeyConditionExpression=f"{DATED} = :pk AND {DATED_BY} >= :since",
                ExpressionAttributeValues={":pk": text(pk), ":since": text(items.date(books.since))},
            )
            for pk in pks
        )
    )
    new = [item for shard in found for item in shard if item["pk"]["S"][2:] not in books.newer]
    proof = Proof()  # none of these is older
    for item in await queries.look_up(client, new):
        _take_entry(item, books, proof)
    for item in await queries.look_up(client, keys):
        _take(item, books, proof)


def _days(from_ms: int, to_ms: int) -> Iterator[str]:
    for day in range(from_ms // _MS_PER_DAY, to_ms // _MS_PER_DAY + 1):
        yield utc_day(day * _MS_PER_DAY)


def _prove(books: _Books, proof: Proof) -> None:
    newer = list(books.newer.values())
    proof.replay((one.entry, one.seal) for one in newer)
    for name in [name for name, read in books.accounts.items() if read.known is None and read.moves]:
        proof.skip(name)
        del books.accounts[name]
    proof.compare_accounts(_account_now(read, newer) for read in books.accounts.values())
    proof.compare_holds(_hold_now(read, newer) for read in books.holds.values())
    proof.note_accounts(len(books.closed))
    proof.compare_records(books.records)


def _account_now(read: _Read, newer: list[_Newer]) -> AccountState:
    """The account after all entries known, from what it was when it was read."""
    state = read.value
    assert isinstance(state, AccountState)
    for one in newer[read.known :] if read.known is not None else ():
        if state.account in one.accounts:
            atoms = sum(leg.amount_atoms for leg in one.entry.legs if leg.account == state.account)
            held = sum(leg.amount_atoms for leg in one.entry.legs if is_hold(leg.account) and one.user == state.account)
            state = AccountState(state.account, state.balance_atoms + atoms, state.held_atoms + held)
    return state


def _hold_now(read: _Read, newer: list[_Newer]) -> HoldBalance:
    balance = read.value
    assert isinstance(balance, HoldBalance)
    name = f"H:{balance.order_id}"
    later = newer[read.known :] if read.known is not None else []
    atoms = sum(leg.amount_atoms for one in later for leg in one.entry.legs if leg.account == name)
    if not atoms:
        return balance
    remaining_atoms = balance.remaining_atoms + atoms
    state = HoldState.OPEN if remaining_atoms else HoldState.SETTLED
    return replace(balance, remaining_atoms=remaining_atoms, state=state)
