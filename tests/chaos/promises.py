"""What must hold whatever happened: by the ledger alone, against what callers were told and what was really served."""

import asyncio
import os
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

from gollem.clock import SystemClock
from gollem.ledger import Entry, Ledger
from gollem.ledger.dynamodb import items
from tests.chaos.crowd import Crowd
from tests.chaos.model_server import ModelServer
from tests.chaos.world import World
from tests.servers.dynamodb_local import CREDENTIALS

HOLD_GRACE_MS = 5_000
AHEAD_MS = 60_000
OPENS, CLOSES = "hold", ("settle", "void", "expire")


@dataclass(frozen=True)
class Order:
    """As the journal has it."""

    order_id: str
    provider: str
    opened_ms: int
    closed_ms: int
    ending: str
    charged_atoms: int

    @property
    def base_id(self) -> str:
        """What its caller calls it: the client adds a number when it turns to another provider."""
        return self.order_id.partition(".")[0]


@dataclass
class Books:
    """Every order of a run, and what is wrong with the journal itself."""

    orders: dict[str, Order] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def within(self, since_ms: int, until_ms: int) -> list[Order]:
        """Orders that were opened in this time."""
        return [order for order in self.orders.values() if since_ms <= order.opened_ms < until_ms]

    def sold_beyond(self, slots: int, since_ms: int, until_ms: int) -> list[str]:
        """Orders opened in this time that came when their provider's slots were all held, a line each."""
        by_provider = defaultdict(list)
        for order in self.orders.values():
            by_provider[order.provider].append(order)
        pairs = [pair for orders in by_provider.values() for pair in _held(orders)]
        return [
            f"{order.order_id} at {order.provider}, all held, the last for {_age_ms(order, held)} ms"
            for order, held in pairs
            if len(held) >= slots and since_ms <= order.opened_ms < until_ms
        ]


def _age_ms(order: Order, held: Sequence[Order]) -> int:
    return order.opened_ms - max(other.opened_ms for other in held)


def _held(orders: Sequence[Order]) -> Iterator[tuple[Order, list[Order]]]:
    """Each order, and those that were open when it was opened. What ends at that moment has ended."""
    held: list[Order] = []
    for order in sorted(orders, key=lambda order: order.opened_ms):
        held = [other for other in held if other.closed_ms > order.opened_ms]
        yield order, list(held)
        held.append(order)


async def read_books(ledger: Ledger, since_ms: int) -> Books:
    """From the journal. That a key is there once is the table's own rule, so what is counted is kinds an order."""
    books, by_order = Books(), defaultdict(list)
    async for entry in _entries(ledger, since_ms):
        if entry.order_id:
            by_order[entry.order_id].append(entry)
    for order_id, entries in by_order.items():
        kinds = Counter(str(entry.kind) for entry in entries)
        ends = sum(kinds[kind] for kind in CLOSES)
        if kinds[OPENS] != 1 or ends != 1:
            books.faults.append(f"{order_id}: {dict(kinds)}, of which there must be one hold and one end")
            continue
        books.orders[order_id] = await _order(ledger, entries)
    return books


async def _entries(ledger: Ledger, since_ms: int) -> AsyncIterator[Entry]:
    after, until = items.first_number(since_ms), items.first_number(SystemClock().now_ms() + AHEAD_MS)
    while page := await ledger.journal(after, until):
        for entry in page:
            yield entry
        after = page[-1].sequence


async def _order(ledger: Ledger, entries: list[Entry]) -> Order:
    hold = await ledger.find_hold(entries[0].order_id)
    assert hold is not None
    [opened] = [entry for entry in entries if entry.kind == OPENS]
    [closed] = [entry for entry in entries if entry.kind in CLOSES]
    spent = sum(leg.amount_atoms for entry in entries for leg in entry.legs if leg.account == f"U:{hold.user}")
    return Order(hold.order_id, hold.provider, opened.at_ms, closed.at_ms, str(closed.kind), -spent)


def broken(books: Books, crowd: Crowd, model: ModelServer, slots: int) -> list[str]:
    """A line for each promise that was broken."""
    return [
        *books.faults,
        *_acknowledged(books, crowd),
        *_paid(books, crowd, model),
        *([f"a provider served {model.most_at_once} at once"] if model.most_at_once > slots else []),
    ]


def _acknowledged(books: Books, crowd: Crowd) -> Iterator[str]:
    """Every acknowledged match is in the ledger, at the provider that was told."""
    for order_id, told in crowd.told.items():
        order = books.orders.get(order_id)
        if order is None:
            yield f"{order_id}: acknowledged, and not in the ledger"
        elif order.provider != told.provider:
            yield f"{order_id}: told to be {told.provider}'s, and is {order.provider}'s in the ledger"


def _paid(books: Books, crowd: Crowd, model: ModelServer) -> Iterator[str]:
    """What was served is charged once, what was not never; an answer that came whole is paid or came too late."""
    charged = Counter(order.base_id for order in books.orders.values() if order.charged_atoms)
    for base_id, times in charged.items():
        if times > model.served[base_id]:
            yield f"{base_id}: charged {times} times, served {model.served[base_id]} times"
    for order_id in crowd.answered:
        order = books.orders.get(order_id)
        if order is None:
            yield f"{order_id}: answered, and not in the ledger"
        elif not order.charged_atoms and order.ending != "expire":
            yield f"{order_id}: answered, and given back as {order.ending}"


async def overdue(ledger: Ledger) -> list[str]:
    """Holds that are open though their deadline is long over."""
    now_ms = SystemClock().now_ms()
    holds = await ledger.open_holds()
    late = [hold for hold in holds if hold.expires_at_ms + HOLD_GRACE_MS < now_ms]
    return [f"{hold.order_id}: open {now_ms - hold.expires_at_ms} ms after its deadline" for hold in late]


async def audit(world: World) -> list[str]:
    """`gollem ledger audit` finds nothing."""
    command = (sys.executable, "-m", "gollem", "ledger", "audit", "--ledger", world.ledger)
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | CREDENTIALS, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return [f"audit: {said.decode()}"] if process.returncode else []
