"""The layout of the single table: what is an item, under which keys, and how it is written and read. Pure.

| item           | pk                      | sk           | index `dated`: dated, dated_by    | index `listed`: listed |
|----------------|-------------------------|--------------|-----------------------------------|------------------------|
| entry          | `T#{key}`               | `TX`         | `J#{yyyymmdd}#{0..15}`, number    |                        |
| account        | `A#{account}`           | `ACCT`       |                                   |                        |
| earnings       | `PM#{provider}#{shard}` | `{yyyymmdd}` | `MAT`, day and provider           |                        |
| hold           | `H#{order}`             | `HOLD`       | `HX#{0..15}`, deadline and order  | `HO#{0..15}`           |
| record         | `R#{kind}#{id}`         | `REC`        |                                   | `R#{kind}#{state}`     |
| statement      | `L#{owner}#{0..3}`      | a cursor     |                                   |                        |
| time           | `N#time`                | `NOW`        |                                   |                        |

The index `listed` is ordered by pk. Both are sparse: a hold leaves them when it is closed, earnings when they have
matured, a record when it waits for nothing. They only find candidates; money is never read from one.

An account keeps its balance twice: as one sum, and as four, by the time of the entries that moved it (`SLOTS`). Three
of the four stand still at any moment, so that an audit can compare them with the journal however busy the account is.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar
from zlib import crc32

from gollem.clock import utc_day
from gollem.errors import InvariantBroken
from gollem.ledger.accounts import EARNINGS_SHARDS, earnings_of, earnings_shard
from gollem.ledger.audit import seal
from gollem.ledger.records import is_listed
from gollem.ledger.types import Entry, Hold, HoldState, Kind, Leg, Record

Item = dict[str, Any]  # attribute -> {type: value}, as DynamoDB's own protocol has it

DATED = "dated"
DATED_BY = "dated_by"  # orders the index `dated`
LISTED = "listed"
MATURING = "MAT"
INDEX_SHARDS = 16
_STATES = {state.value: state for state in HoldState}
_KINDS = {kind.value: kind for kind in Kind}
_MS_SHIFT = 20  # an entry's number is milliseconds * 2^20 + a count
SLOTS = 4
_SLOT_MS = 600_000
_UNREADABLE = (KeyError, ValueError, TypeError, IndexError, AttributeError)
T = TypeVar("T")


def text(value: str) -> Item:
    return {"S": value}


def number(value: int) -> Item:
    return {"N": str(value)}


def integer(item: Item, name: str) -> int:
    """The attribute as a number, 0 if there is none."""
    return int(item[name]["N"]) if name in item else 0


# --- keys -------------------------------------------------------------------------------------------------------------


def key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def entry_key(transaction_key: str) -> Item:
    return key(f"T#{transaction_key}", "TX")


def account_key(account: str) -> Item:
    """Earnings lie by provider and shard, a day after the other: a provider's are read with a few consistent queries,
    and what one partition key takes is what one of its items takes."""
    if account.startswith("PM:"):
        _, provider, day, shard = account.split(":")
        return key(f"PM#{provider}#{shard}", day)
    return key(f"A#{account}", "ACCT")


def hold_key(order_id: str) -> Item:
    return key(f"H#{order_id}", "HOLD")


def time_key() -> Item:
    return key("N#time", "NOW")


def record_key(kind: str, record_id: str) -> Item:
    return key(f"R#{kind}#{record_id}", "REC")


def earnings_pks(provider: str) -> list[str]:
    return [f"PM#{provider}#{shard}" for shard in range(EARNINGS_SHARDS)]


def journal_pks(day: str) -> list[str]:
    return [f"J#{day}#{shard}" for shard in range(INDEX_SHARDS)]


def due_pks() -> list[str]:
    return [f"HX#{shard}" for shard in range(INDEX_SHARDS)]


def open_pks() -> list[str]:
    return [f"HO#{shard}" for shard in range(INDEX_SHARDS)]


def state_pk(kind: str, state: str) -> str:
    return f"R#{kind}#{state}"


def date(moment: int) -> str:
    """A number that sorts as text."""
    return f"{moment:020d}"


def first_number(at_ms: int) -> int:
    """The least number of an entry of this moment."""
    return at_ms << _MS_SHIFT


def moment_ms(entry_number: int) -> int:
    """When an entry got its number."""
    return entry_number >> _MS_SHIFT


def slot_of(entry_number: int) -> int:
    """Which of an account's sums the entry goes into: the next one every ten minutes, the first again after forty."""
    return moment_ms(entry_number) // _SLOT_MS % SLOTS


def _shard(name: str, shards: int) -> int:
    return crc32(name.encode()) % shards


# --- items written ----------------------------------------------------------------------------------------------------


def entry_item(entry: Entry, also: str = "") -> Item:
    """`also`: the account that the entry moves without a leg, a user whose escrow is gone and who gets nothing back."""
    return entry_key(entry.key) | {
        "kind": text(entry.kind),
        "fingerprint": text(entry.fingerprint),
        "at_ms": number(entry.at_ms),
        "number": number(entry.sequence),
        "order_id": text(entry.order_id),
        "detail": text(entry.detail),
        "legs": {"L": [{"M": {"a": text(leg.account), "v": number(leg.amount_atoms)}} for leg in entry.legs]},
        "seal": text(seal(entry)),
        **entry_index(entry),
        **({"also": text(also)} if also else {}),
    }


def entry_index(entry: Entry) -> Item:
    """How an entry stands in the `dated` index, for ever."""
    day = utc_day(moment_ms(entry.sequence))
    return {DATED: text(f"J#{day}#{_shard(entry.key, INDEX_SHARDS)}"), DATED_BY: text(date(entry.sequence))}


def hold_item(hold: Hold) -> Item:
    return hold_key(hold.order_id) | {
        "user": text(hold.user),
        "provider": text(hold.provider),
        "amount": number(hold.amount_atoms),
        "remaining": number(hold.remaining_atoms),
        "settled": number(hold.settled_atoms),
        "parts": number(hold.sequence),
        "opened_at_ms": number(hold.opened_at_ms),
        "expires_at_ms": number(hold.expires_at_ms),
        "fence": number(hold.fence),
        "state": text(hold.state),
        "terms": text(hold.terms),
        **hold_index(hold),
    }


def hold_index(hold: Hold) -> Item:
    """How a hold stands in the indexes while it is open."""
    shard = _shard(hold.order_id, INDEX_SHARDS)
    return {
        DATED: text(f"HX#{shard}"),
        DATED_BY: text(f"{date(hold.expires_at_ms)}#{hold.order_id}"),
        LISTED: text(f"HO#{shard}"),
    }


def record_item(record: Record) -> Item:
    item = record_key(record.kind, record.id) | {"state": text(record.state), "fields": {"M": fields(record.fields)}}
    return item | record_index(record)


def record_index(record: Record) -> Item:
    """How a record stands in the `listed` index while it waits for something."""
    if not is_listed(record.kind, record.state):
        return {}
    return {LISTED: text(state_pk(record.kind, record.state))}


def fields(values: Mapping[str, str | int]) -> Item:
    return {name: field(value) for name, value in values.items()}


def field(value: str | int) -> Item:
    return text(value) if isinstance(value, str) else number(value)


# --- items read -------------------------------------------------------------------------------------------------------


def whole(read: Callable[[Item], T]) -> Callable[[Item], T]:
    """A reader of items that may be damaged: raises InvariantBroken, which names the item, and nothing else."""

    @wraps(read)
    def reading(item: Item) -> T:
        try:
            return read(item)
        except _UNREADABLE as error:
            raise InvariantBroken(f"{name_of(item)}: the item is damaged: {error!r}") from error

    return reading


def kind_of(name: str) -> Kind:
    return _KINDS[name]


def name_of(item: Item) -> str:
    """The item's own name, whatever else is wrong with it."""
    return str(item["pk"]["S"])


@whole
def read_entry(item: Item) -> Entry:
    legs = tuple(Leg(leg["M"]["a"]["S"], int(leg["M"]["v"]["N"])) for leg in item["legs"]["L"])
    kind = item["kind"]["S"]
    return Entry(
        sequence=integer(item, "number"),
        key=item["pk"]["S"][2:],
        kind=_KINDS.get(kind, kind),  # one that is not known is damage, for the seal to find
        legs=legs,
        fingerprint=item["fingerprint"]["S"],
        at_ms=integer(item, "at_ms"),
        order_id=item["order_id"]["S"],
        detail=item["detail"]["S"],
    )


@whole
def read_sealed(item: Item) -> tuple[Entry, str, str]:
    """An entry, the seal beside it, and the account that it moves without a leg, if there is one."""
    return read_entry(item), item["seal"]["S"], item["also"]["S"] if "also" in item else ""


@whole
def read_balance(item: Item) -> tuple[str, int]:
    """The account's name, and its balance."""
    return read_account_name(item), integer(item, "balance")


@whole
def read_sums(item: Item) -> list[tuple[int, int, int]]:
    """Of an account, how many entries, its balance and what is held: of each slot, and then of all."""
    slots = [(f"entries{slot}", f"atoms{slot}", f"held{slot}") for slot in range(SLOTS)]
    return [
        (integer(item, entries), integer(item, atoms), integer(item, held))
        for entries, atoms, held in [*slots, ("", "balance", "held")]
    ]


@whole
def read_hold(item: Item) -> Hold:
    return Hold(
        order_id=item["pk"]["S"][2:],
        user=item["user"]["S"],
        provider=item["provider"]["S"],
        amount_atoms=integer(item, "amount"),
        opened_at_ms=integer(item, "opened_at_ms"),
        expires_at_ms=integer(item, "expires_at_ms"),
        terms=item["terms"]["S"],
        fence=integer(item, "fence"),
        state=_STATES[item["state"]["S"]],
        settled_atoms=integer(item, "settled"),
        sequence=integer(item, "parts"),
    )


@whole
def read_remaining(item: Item) -> int:
    """What a hold's item says that is left in it."""
    return integer(item, "remaining")


@whole
def read_record(item: Item) -> Record:
    _, kind, record_id = item["pk"]["S"].split("#", 2)
    values = {name: int(value["N"]) if "N" in value else value["S"] for name, value in item["fields"]["M"].items()}
    return Record(kind, record_id, item["state"]["S"], values)


@whole
def read_account_name(item: Item) -> str:
    """The account whose item this is: the reverse of `account_key`."""
    pk = item["pk"]["S"]
    if pk.startswith("PM#"):
        _, provider, shard = pk.split("#")
        return earnings_shard(provider, item["sk"]["S"], int(shard))
    return str(pk[2:])


def earnings_index(account: str) -> Item:
    """How earnings stand in the `dated` index until they have matured."""
    provider, day = earnings_of(account)
    return {DATED: text(MATURING), DATED_BY: text(f"{day}#{provider}#{account[-1]}")}
