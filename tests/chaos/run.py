"""One run: a world, its sellers and buyers, the faults one after the other, then the proof."""

import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from gollem.clock import SystemClock
from gollem.identity import Role
from gollem.ledger import Ledger, open_ledger
from gollem.ledger.dynamodb.ledger import create_dynamodb
from gollem_client import stubs
from tests.chaos import promises
from tests.chaos.crowd import Crowd
from tests.chaos.faults import NOTHING, Fault, Stroke
from tests.chaos.fleet import Fleet
from tests.chaos.model_server import ModelServer
from tests.chaos.world import World, a_folder

LEAVE_S = 60
CLOSED_S = 60
MOST_NAMED = 3


@dataclass(frozen=True)
class Plan:
    """`phase_s`: how long a fault lasts, and as long again after it is over. `rate`: orders a second."""

    faults: Sequence[Fault]
    phase_s: float = 5.0
    seed: int = 7
    agents: int = 20
    slots: int = 1
    accounts: int = 20
    callers: int = 200
    rate: float = 25.0
    tokens: int = 4
    answer_s: float = 0.4
    abandoned: float = 0.01  # share of orders that are matched and never brought to their provider


@dataclass
class Row:
    """What came of one fault. Gaps are seconds without a single answer beginning."""

    fault: str
    gap_s: float
    target_s: float | None
    stalled_s: float  # the load itself stood still for so long, which a gap may contain
    recovered_s: float  # from the fault's end until every node was whole again
    answers: int
    repeats: int  # most that one caller had to make
    repeats_allowed: int | None
    trouble: dict[str, int]
    oversold: int = 0  # orders beyond a provider's slots
    degraded: int = 0  # orders that a node sold by its own view, cut off from the others, or may have
    began_ms: int = 0
    ended_ms: int = 0
    usual_gap_s: float = 0  # without any fault, in the same run
    broken: list[str] = field(default_factory=list)

    @property
    def reached(self) -> bool:
        """Whether all was kept, in time: a machine that is busy with other things has gaps without a fault, too."""
        return not self.broken and (self.target_s is None or self.gap_s - self.usual_gap_s < self.target_s)


@dataclass(frozen=True)
class Outcome:
    rows: list[Row]
    broken: list[str]
    nodes: list[stubs.NodeInfo]
    orders: int
    charged: int


async def run(plan: Plan, dynamodb: str) -> Outcome:
    """`dynamodb`: the endpoint of a DynamoDB Local. Raises AssertionError if the world does not come back to order."""
    sellers = [f"p{number}" for number in range(plan.agents)]
    buyers = [f"c{number}" for number in range(plan.accounts)]
    people = dict.fromkeys(sellers, Role.PROVIDER) | dict.fromkeys(buyers, Role.CONSUMER)
    name = f"chaos-{time.time_ns():x}"
    url = f"dynamodb://{name}?endpoint={dynamodb}&region=eu-west-1"
    await create_dynamodb(url, stream=False)
    replicated = any(fault.replicated for fault in plan.faults)
    with a_folder() as folder:
        async with World(folder, url, people, replicated) as world, ModelServer(plan.tokens, plan.answer_s) as model:
            await _fund(world, buyers)
            keys = world.keys
            fleet = Fleet(folder, world.exchange, {who: keys[who] for who in sellers}, model, plan.slots)
            buying = {who: keys[who] for who in buyers}
            crowd = Crowd(name, world.exchange, buying, plan)
            ledger = await open_ledger(url)
            async with closed(ledger), fleet:
                await world.until_whole(plan.agents)
                return await _strike_all(plan, world, fleet, crowd, model, ledger)


@contextlib.asynccontextmanager
async def closed(ledger: Ledger) -> AsyncIterator[None]:
    """At the end of the block."""
    try:
        yield
    finally:
        await ledger.close()


async def _strike_all(
    plan: Plan, world: World, fleet: Fleet, crowd: Crowd, model: ModelServer, ledger: Ledger
) -> Outcome:
    began_ms = SystemClock().now_ms()
    async with crowd:
        rows = [await _strike(plan, fault, world, crowd, ledger) for fault in plan.faults]
        nodes = await world.nodes_seen()
        await crowd.leave(LEAVE_S)
    await fleet.leave()
    broken = await _until_closed(ledger)
    books = await promises.read_books(ledger, began_ms - 1_000)
    for fault, row in zip(plan.faults, rows, strict=True):
        row.usual_gap_s = rows[0].gap_s if plan.faults[0] is NOTHING else 0
        _judge(fault, row, books, crowd, plan.slots)
    broken += promises.broken(books, crowd, model, plan.slots) + await promises.audit(world)
    charged = sum(order.charged_atoms > 0 for order in books.orders.values())
    return Outcome(rows, broken, nodes, len(books.orders), charged)


def _judge(fault: Fault, row: Row, books: promises.Books, crowd: Crowd, slots: int) -> None:
    """By the ledger, what was sold while the fault lasted."""
    beyond = books.sold_beyond(slots, row.began_ms, row.ended_ms)
    told = [crowd.told.get(order.order_id) for order in books.within(row.began_ms, row.ended_ms)]
    row.oversold, row.degraded = len(beyond), sum(one.degraded for one in told if one)
    if not row.degraded and not fault.may_oversell:
        row.broken += beyond[:MOST_NAMED]


async def _strike(plan: Plan, fault: Fault, world: World, crowd: Crowd, ledger: Ledger) -> Row:
    async def rest() -> None:
        """Watched: a caller that was surprised ends the run."""
        await crowd.watch(plan.phase_s)

    began_s, began_ms = time.monotonic(), SystemClock().now_ms()
    answers, trouble = len(crowd.first_chunks_s), Counter(crowd.trouble)
    crowd.repeats, crowd.stalled_s = Counter(), 0.0
    await fault.strike(Stroke(world, rest))
    struck_s = time.monotonic()
    await world.until_whole()
    recovered_s = time.monotonic() - struck_s
    await rest()
    row = Row(
        fault=fault.name,
        gap_s=crowd.longest_gap_s(began_s, time.monotonic()),
        target_s=fault.gap_s,
        stalled_s=crowd.stalled_s,
        recovered_s=recovered_s,
        answers=len(crowd.first_chunks_s) - answers,
        repeats=max(crowd.repeats, default=0),
        repeats_allowed=fault.repeats,
        trouble=dict(crowd.trouble - trouble),
        began_ms=began_ms,
        ended_ms=SystemClock().now_ms(),
        broken=await promises.overdue(ledger),
    )
    if fault.repeats is not None and row.repeats > fault.repeats:
        row.broken.append(f"a caller had to repeat an order {row.repeats} times")
    return row


async def _fund(world: World, accounts: Sequence[str]) -> None:
    for account in accounts:
        request = stubs.GrantCreditsRequest(grant_id=f"g-{account}", account=account, amount="100000")
        await world.ask(world.nodes[0], "AdminService/GrantCredits", request, stubs.GrantCreditsResponse)


async def _until_closed(ledger: Ledger) -> list[str]:
    """Nothing is held any more: what nobody settles, its deadline ends."""
    deadline_s = time.monotonic() + CLOSED_S
    while holds := await ledger.open_holds():
        if time.monotonic() > deadline_s:
            return [f"{len(holds)} holds are still open"]
    return []
