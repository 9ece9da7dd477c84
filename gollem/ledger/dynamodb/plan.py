"""Transactions compiled to one TransactWriteItems: an item a key, hold, record, account and statement. Pure.

What belongs to one transaction alone (its key, holds and records) says by its place in the answer which transaction was
refused. Accounts and statements are shared: several transactions change one item at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gollem.errors import InvariantBroken
from gollem.ledger.accounts import statement_of
from gollem.ledger.checks import entry_of
from gollem.ledger.dynamodb import items
from gollem.ledger.dynamodb.changes import Change, changes_of, write_of
from gollem.ledger.dynamodb.items import DATED, DATED_BY, LISTED, Item, number, text
from gollem.ledger.dynamodb.lines import line_item
from gollem.ledger.records import is_listed
from gollem.ledger.types import (
    ABSENT,
    CloseHold,
    Entry,
    HoldOpen,
    OpenHold,
    PutRecord,
    RecordIs,
    ReduceHold,
    Transaction,
    UpdateRecord,
)

MAX_ITEMS = 100  # of one TransactWriteItems
MAX_ITEM_BYTES = 400 * 1_024
MAX_BYTES = 4_000_000  # a little below DynamoDB's 4 MB, for what we do not count
_ABSENT = "attribute_not_exists(pk)"
_FIXED_BYTES = 256  # of an update, beside its texts


@dataclass(frozen=True, slots=True)
class Part:
    """One transaction, compiled: `own` writes begin with the entry; `lines` are legs' places by whose statement shows
    them."""

    transaction: Transaction
    entry: Entry
    own: tuple[Item, ...]
    lines: tuple[tuple[str, int], ...]
    changes: dict[str, Change]
    size_bytes: int

    @property
    def keys(self) -> set[str]:
        return {_pk(write) for write in self.own}

    @property
    def slot(self) -> int:
        return items.slot_of(self.entry.sequence)


@dataclass(slots=True)
class Plan:
    """Parts that go into one request."""

    table: str
    parts: list[Part] = field(default_factory=list)
    _changes: dict[str, Change] = field(default_factory=dict)
    _keys: set[str] = field(default_factory=set)
    _lines: dict[str, list[tuple[Entry, int]]] = field(default_factory=dict)  # by owner: one item each
    _own: int = 0
    _size_bytes: int = 0

    def add(self, part: Part) -> bool:
        """Take it in after the others, unless one request cannot say both."""
        merged = dict(self._changes)
        for account, change in part.changes.items():
            both = merged[account].then(change) if account in merged else change
            if both is None:
                return False
            merged[account] = both
        own = self._own + len(part.own)
        writes = own + len(merged) + len(self._lines.keys() | {owner for owner, _ in part.lines})
        size_bytes = self._size_bytes + part.size_bytes
        if self.parts and self.parts[0].slot != part.slot:
            return False  # an account's update goes into one of its sums
        if self._keys & part.keys or writes > MAX_ITEMS or size_bytes > MAX_BYTES:
            return False
        self.parts.append(part)
        self._changes, self._keys = merged, self._keys | part.keys
        self._own, self._size_bytes = own, size_bytes
        for owner, place in part.lines:
            self._lines.setdefault(owner, []).append((part.entry, place))
        return True

    def writes(self) -> list[Item]:
        """The request's items: what each part owns, then accounts, then lines."""
        own = [write for part in self.parts for write in part.own]
        slot = self.parts[0].slot
        accounts = [write_of(self.table, account, change, slot) for account, change in self._changes.items()]
        statements = [_statement(self.table, owner, legs) for owner, legs in self._lines.items()]
        writes = [*own, *accounts, *statements]
        if len(writes) > MAX_ITEMS:
            raise InvariantBroken(f"{len(writes)} items, of {MAX_ITEMS} that one request may have")
        return writes

    def entries(self) -> frozenset[int]:
        """The places of the entries in `writes`."""
        places, place = set(), 0
        for part in self.parts:
            places.add(place)
            place += len(part.own)
        return frozenset(places)

    def guilty(self, refused: frozenset[int]) -> list[Part]:
        """The parts that own one of these places in `writes`."""
        found, place = [], 0
        for part in self.parts:
            if any(at in refused for at in range(place, place + len(part.own))):
                found.append(part)
            place += len(part.own)
        return found


def compile_part(table: str, transaction: Transaction, sequence: int) -> Part:
    """The transaction as entry number `sequence`. Raises InvariantBroken where an item or the whole is too large."""
    entry = entry_of(transaction, sequence)
    changes = changes_of(transaction)
    own = (
        _put(table, items.entry_item(entry, _moved_without_a_leg(entry, changes))),
        *_holds(table, transaction),
        *_records(table, transaction),
    )
    lines = tuple(_lines(entry))
    statements = [_statement(table, owner, [(entry, place)]) for owner, place in lines]
    part = Part(transaction, entry, own, lines, changes, sum(map(size_bytes, (*own, *statements))))
    if not Plan(table).add(part):
        raise InvariantBroken(
            f"{transaction.key}: more than the {MAX_ITEMS} items or {MAX_BYTES} bytes that one request may have"
        )
    return part


def _moved_without_a_leg(entry: Entry, changes: dict[str, Change]) -> str:
    with_leg = {leg.account for leg in entry.legs}
    return next((account for account, change in changes.items() if change.entries and account not in with_leg), "")


def _lines(entry: Entry) -> Iterator[tuple[str, int]]:
    for place, leg in enumerate(entry.legs):
        owner = statement_of(leg.account, entry.kind)
        if owner:
            yield owner, place


def _statement(table: str, owner: str, legs: list[tuple[Entry, int]]) -> Item:
    return {"Put": {"TableName": table, "Item": line_item(owner, legs)}}


def _put(table: str, item: Item) -> Item:
    return {"Put": {"TableName": table, "Item": item, "ConditionExpression": _ABSENT}}


def _pk(write: Item) -> str:
    (body,) = write.values()
    return str((body.get("Key") or body["Item"])["pk"]["S"])


def size_bytes(write: Item) -> int:
    """About how many bytes it has; raises InvariantBroken for an item that no table takes."""
    (body,) = write.values()
    size = _FIXED_BYTES + _text_bytes(body.get("Item") or body.get("ExpressionAttributeValues") or {})
    if size > MAX_ITEM_BYTES:
        raise InvariantBroken(f"{_pk(write)[:80]!r}: an item of {size} bytes, of {MAX_ITEM_BYTES} at most")
    return size


def _text_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    if isinstance(value, dict):
        return sum(len(name) + _text_bytes(inner) for name, inner in value.items())
    return sum(map(_text_bytes, value)) if isinstance(value, list) else 1


# --- holds ------------------------------------------------------------------------------------------------------------


def _holds(table: str, transaction: Transaction) -> Iterator[Item]:
    guards = {guard.order_id: guard for guard in transaction.guards if isinstance(guard, HoldOpen)}
    for effect in transaction.effects:
        if isinstance(effect, OpenHold):
            yield _put(table, items.hold_item(effect.hold))
        elif isinstance(effect, CloseHold | ReduceHold):
            yield _hold_update(table, effect, guards.pop(effect.order_id))
    for guard in guards.values():
        yield _hold_write(table, guard, {}, "")


def _hold_update(table: str, effect: CloseHold | ReduceHold, guard: HoldOpen) -> Item:
    values: Item = {":user": text(effect.user)}
    if isinstance(effect, CloseHold):
        values |= {":state": text(effect.state), ":nothing": number(0)}
        update = f"SET #state = :state, remaining = :nothing REMOVE {DATED}, {DATED_BY}, {LISTED}"
    else:
        values |= {":taken": number(effect.atoms), ":one": number(1)}
        update = "SET remaining = remaining - :taken, settled = settled + :taken, parts = parts + :one"
    return _hold_write(table, guard, values, update)


def _hold_write(table: str, guard: HoldOpen, values: Item, update: str) -> Item:
    """The hold's update, or only its check, under the guard's condition."""
    conditions = ["#state = :open", "remaining = :remaining", "fence = :fence", "parts = :parts"]
    values |= {
        ":open": text("OPEN"),
        ":remaining": number(guard.remaining_atoms),
        ":fence": number(guard.fence),
        ":parts": number(guard.sequence),
    }
    names = {"#state": "state"}
    if guard.expired_by_ms is not None:
        conditions.append("expires_at_ms <= :by")
        values[":by"] = number(guard.expired_by_ms)
    if ":user" in values:
        conditions.append("#user = :user")
        names["#user"] = "user"
    return _conditional(table, items.hold_key(guard.order_id), conditions, names, values, update)


# --- records ----------------------------------------------------------------------------------------------------------


def _records(table: str, transaction: Transaction) -> Iterator[Item]:
    guards = {(guard.kind, guard.id): guard for guard in transaction.guards if isinstance(guard, RecordIs)}
    for effect in transaction.effects:
        if isinstance(effect, PutRecord):
            yield _put(table, items.record_item(effect.record))
        elif isinstance(effect, UpdateRecord):
            yield _record_write(table, guards.pop((effect.kind, effect.id)), effect)
    for guard in guards.values():
        yield _record_write(table, guard, None)


def _record_write(table: str, guard: RecordIs, effect: UpdateRecord | None) -> Item:
    names, values = {"#state": "state"}, {}
    for place, state in enumerate(state for state in guard.states if state != ABSENT):
        values[f":state{place}"] = text(state)
    conditions = [f"#state IN ({', '.join(values)})"]
    for place, (name, value) in enumerate(guard.equals.items()):
        names |= {"#fields": "fields", f"#equal{place}": name}
        values[f":equal{place}"] = items.field(value)
        conditions.append(f"#fields.#equal{place} = :equal{place}")
    if ABSENT in guard.states:
        conditions = [f"({_ABSENT} OR ({' AND '.join(conditions)}))"]
    update = _record_update(effect, names, values) if effect else ""
    return _conditional(table, items.record_key(guard.kind, guard.id), conditions, names, values, update)


def _record_update(effect: UpdateRecord, names: dict[str, str], values: Item) -> str:
    sets, removes = [], []
    for place, (name, value) in enumerate(effect.fields.items()):
        names |= {"#fields": "fields", f"#field{place}": name}
        values[f":field{place}"] = items.field(value)
        sets.append(f"#fields.#field{place} = :field{place}")
    if effect.state is not None:
        values[":becomes"] = text(effect.state)
        sets.append("#state = :becomes")
        if is_listed(effect.kind, effect.state):
            values[":listed"] = text(items.state_pk(effect.kind, effect.state))
            sets.append(f"{LISTED} = :listed")
        else:
            removes.append(LISTED)
    parts = (("SET", sets), ("REMOVE", removes))
    return " ".join(f"{verb} {', '.join(clauses)}" for verb, clauses in parts if clauses)


def _conditional(
    table: str, key: Item, conditions: list[str], names: dict[str, str], values: Item, update: str
) -> Item:
    body: Item = {
        "TableName": table,
        "Key": key,
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
    if update:
        body["UpdateExpression"] = update
    return {"Update" if update else "ConditionCheck": body}


def touched(transaction: Transaction) -> list[Item]:
    """The keys of all that decides about the transaction: its entry first, then accounts, holds and records."""
    keys = [items.entry_key(transaction.key), *map(items.account_key, changes_of(transaction))]
    for guard in transaction.guards:
        if isinstance(guard, HoldOpen):
            keys.append(items.hold_key(guard.order_id))
        elif isinstance(guard, RecordIs):
            keys.append(items.record_key(guard.kind, guard.id))
    for effect in transaction.effects:
        if isinstance(effect, OpenHold):
            keys.append(items.hold_key(effect.hold.order_id))
        elif isinstance(effect, PutRecord):
            keys.append(items.record_key(effect.record.kind, effect.record.id))
    return keys
