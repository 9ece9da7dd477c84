"""An exchange without an edge: real book, real registry, the ledger in memory, a clock that the test moves."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from gollem.clock import Clock, SystemClock
from gollem.config import ExchangeConfig, MarketConfig, NodesConfig, ProvidersConfig
from gollem.exchange import (
    Accounts,
    Advice,
    AgentLinks,
    Asks,
    ClientLimits,
    Commits,
    Floor,
    Leases,
    Orders,
    Replica,
    Reports,
    Settlement,
    Spending,
    Tape,
    WaitingRoom,
)
from gollem.exchange.asks import Status
from gollem.identity import RateLimiter
from gollem.ledger import Ledger, LowBalanceWatch, open_ledger
from gollem.market import Ask, Bid, Catalogue, MemoryBook
from gollem.nodes import SharedBook, open_shared_book
from gollem.providers import Registry
from tests.fakes.clock import FakeClock
from tests.servers.redis_server import RedisServer, redis_server
from tests.until import until

PROVIDERS = ProvidersConfig(samples_needed=3)
ALONE = NodesConfig()
EXCHANGE = ExchangeConfig(cancel_wait_ms=200)


@dataclass
class Bench:
    """Everything under test, built like `app` does."""

    clock: FakeClock
    ledger: Ledger
    floor: Floor
    links: AgentLinks
    waiting: WaitingRoom
    settlement: Settlement
    orders: Orders
    asks: Asks
    reports: Reports
    accounts: Accounts
    leases: Leases
    commits: Commits
    replica: Replica
    limiter: RateLimiter
    limits: ClientLimits
    shared: SharedBook
    spending: Spending
    tape: Tape
    advice: Advice

    def sell(self, provider: str = "p1", per_minute: int | None = None, **changes: object) -> Ask:
        """Register an ask for gpt-4 on an H100 at the base price."""
        ask = replace(ASK, provider_id=provider, **changes)  # type: ignore[arg-type]
        self.asks.register(ask, per_minute)
        return ask

    async def hears(self, provider: str = "p1", sequence: int = 1, **changes: object) -> None:
        """A report of the provider's agent."""
        await self.asks.report(provider, "a", Status(sequence, **changes))  # type: ignore[arg-type]

    async def fund(self, user: str = "alice", amount: int = 1_000) -> None:
        await self.accounts.grant(f"g-{user}-{amount}", user, amount * 10**8)

    async def available(self, user: str = "alice") -> int:
        return (await self.ledger.balance(user)).available_atoms

    async def held(self, user: str = "alice") -> int:
        return (await self.ledger.balance(user)).held_atoms


ASK = Ask(
    provider_id="p1",
    ask_id="a",
    model="gpt-4",
    gpu_type="h100",
    price_ticks=100_000,
    completion_price_ticks=100_000,
    credit_rate_atoms=0,
    latency_us=100_000,
    tpot_ns=10_000_000,
    capacity_tokens=100_000,
    capacity_slots=4,
    endpoint="127.0.0.1:9",
)
# 200 tokens / 4 x 2 (gpt-4) x 2 (h100) at the base price: 200 credits.
BID = Bid("gpt-4", prompt_tokens=100, max_tokens=100)
HELD = 200 * 10**8


def build(
    ledger: Ledger,
    clock: Clock,
    nodes: NodesConfig = ALONE,
    faulty: Callable[[SharedBook], SharedBook] = lambda shared: shared,
) -> Bench:
    """One node. It hears the others once `bench.shared` is started with `bench.replica`. `faulty`: the shared book as
    this node meets it."""
    shared = faulty(open_shared_book(nodes, "test", clock))
    catalogue = Catalogue.load()
    registry = Registry(PROVIDERS)
    floor = Floor(MemoryBook(catalogue), registry, clock, shared.announce)
    links = AgentLinks(registry, clock, shared.announce)
    waiting = WaitingRoom(floor, limit=8, limit_per_user=6)
    commits = Commits()
    leases = Leases(shared, floor, ledger, commits, clock, nodes)
    spending, tape = Spending(ledger, clock), Tape(clock)
    settlement = Settlement(floor, ledger, links, leases, commits, clock, spending.ended)
    market = MarketConfig(fee_bps=500)
    reports = Reports(floor, ledger, settlement, links, clock, PROVIDERS, shared.announce)
    limiter = RateLimiter(per_second=1, burst=200, clock=clock)
    limits = ClientLimits(limiter, shared.announce)
    return Bench(
        clock=clock,  # type: ignore[arg-type]
        ledger=ledger,
        floor=floor,
        links=links,
        leases=leases,
        waiting=waiting,
        settlement=settlement,
        orders=Orders(
            floor,
            ledger,
            catalogue,
            settlement,
            links,
            leases,
            waiting,
            commits,
            clock,
            market,
            EXCHANGE,
            spending=spending,
            tape=tape,
        ),
        asks=Asks(floor, registry, links, settlement, PROVIDERS),
        reports=reports,
        limiter=limiter,
        limits=limits,
        accounts=Accounts(ledger, LowBalanceWatch(ledger, clock), spending, clock),
        commits=commits,
        replica=Replica(floor, links, leases, reports, limits, shared),
        shared=shared,
        spending=spending,
        tape=tape,
        advice=Advice(floor, registry, tape, catalogue),
    )


@pytest.fixture
async def bench() -> Bench:
    return build(await open_ledger("memory:"), FakeClock())


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


class AheadClock(SystemClock):
    """Goes on by itself, and may be put forward."""

    ahead_ms = 0

    def monotonic_ms(self) -> int:
        return super().monotonic_ms() + self.ahead_ms


@dataclass
class Pair:
    """Two nodes, and the Redis that they share."""

    a: Bench
    b: Bench
    redis: RedisServer
    b_clock: AheadClock

    async def both_see(self, slots: int) -> None:
        for bench in (self.a, self.b):
            await until(lambda bench=bench: bench.floor.depth("gpt-4").free_slots == slots)

    async def leased(self) -> int:
        """Slots that orders hold in Redis, once all that was begun is done."""
        await self.a.commits.finish()
        await self.b.commits.finish()
        return sum(int(self.redis.ask("zcard", key)) for key in self.redis.ask("keys", "*").split() if "due" in key)


@pytest.fixture
async def pair(server: RedisServer) -> AsyncIterator[Pair]:
    server.ask("flushall")
    ledger, clocks = await open_ledger("memory:"), (SystemClock(), AheadClock())
    url = f"redis://127.0.0.1:{server.port}"
    a, b = (
        build(ledger, clock, NodesConfig(book=url, name=name, partitions=2, flush_ms=2, heartbeat_ms=50))
        for name, clock in zip("ab", clocks, strict=True)
    )
    for bench in (a, b):
        await bench.shared.start(bench.replica)
    await a.fund(amount=10_000)
    yield Pair(a, b, server, clocks[1])
    for bench in (a, b):
        await bench.commits.finish()
        await bench.shared.close()
