"""A matcher node: the real exchange, built as `gollem.app` builds it, over the shared store and a wrong clock."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from gollem.config import ExchangeConfig, MarketConfig, NodesConfig, ProvidersConfig
from gollem.errors import GollemError
from gollem.exchange import (
    Accounts,
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
    WaitingRoom,
    restore_claims,
)
from gollem.identity import RateLimiter
from gollem.ledger import LowBalanceWatch
from gollem.market import Catalogue, MemoryBook
from gollem.nodes import ClaimRequest, Granted, MemoryNodes, Refused, SharedBook
from gollem.nodes.redis_nodes import RedisNodes
from gollem.providers import Registry
from tests.simulation.loop import Process
from tests.simulation.redis.link import Link
from tests.simulation.store import SharedStore
from tests.simulation.world import EPOCH_MS, World

if TYPE_CHECKING:
    from tests.simulation.auditor import Auditor

FEE_BPS = 500
PROVIDERS = ProvidersConfig(
    telemetry_interval_ms=300,
    withdraw_after_ms=1_200,
    forget_after_ms=3_000,
    circuit_failures=4,
    circuit_window_ms=4_000,
    circuit_open_ms=1_000,
    samples_needed=3,
)
EXCHANGE = ExchangeConfig(
    grant_ttl_ms=2_000, settle_grace_ms=3_000, max_order_ms=12_000, cancel_wait_ms=400, sweep_interval_ms=1_000
)
# `lease_ms` is less than a slow ledger may take, so that leases run out under a match, too.
NODES = NodesConfig(
    book="redis://simulated:6379",
    partitions=2,
    flush_ms=120,
    claim_timeout_ms=150,
    lease_ms=3_000,
    degraded_ms=1_000,
    heartbeat_ms=800,
    join_ms=5_000,
    forget_ms=4_000,
    stream_length=40,
    max_events=200,
    connections=8,
)
_TICK_S = 0.25
CATALOGUE = Catalogue.load()


class NodeClock:
    """Wrong by `skew_ms`, which may change at any time; the monotonic one only starts anywhere."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.skew_ms = 0
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return EPOCH_MS + int(self._world.loop.time() * 1_000) + self.skew_ms

    def monotonic_ms(self) -> int:
        return int(self._world.loop.time() * 1_000) + 10_000_000

    def jump(self, skew_ms: int) -> None:
        self.skew_ms = skew_ms
        self.ahead_ms = max(self.ahead_ms, skew_ms)


@dataclass
class Exchange:
    """What a node keeps in memory."""

    floor: Floor
    links: AgentLinks
    waiting: WaitingRoom
    settlement: Settlement
    orders: Orders
    asks: Asks
    reports: Reports
    accounts: Accounts
    leases: Leases
    shared: SharedBook
    replica: Replica


class Node:
    """Starts, crashes and starts again; only its clock and its name stay."""

    def __init__(
        self, world: World, store: SharedStore, auditor: "Auditor", name: str, link: Link | None = None
    ) -> None:
        """With a `link` it shares the book with those that have one to the same Redis; else it has its own."""
        self.name = name
        self.clock = NodeClock(world)
        self._world = world
        self._store = store
        self._auditor = auditor
        self.link = link
        self._starts = 0
        self.busy = 0
        self._ready = False
        self.process = Process(f"{name}.0")
        self.process.alive = False

    @property
    def is_up(self) -> bool:
        return self.process.alive and self._ready

    def start(self) -> None:
        """A new process with empty memory, which first restores the claims of open orders."""
        self._starts += 1
        self._ready = False
        self.busy = 0
        self.process = Process(f"{self.name}.{self._starts}")
        self._world.note(self.process.name, "starts")
        self.process.spawn(self._run(self.process))

    def crash(self) -> None:
        self._world.note(self.process.name, "crashes")
        self.process.alive = self._ready = False

    async def _run(self, process: Process) -> None:
        self.ledger = ledger = self._store.seen_by(process)
        self.exchange = exchange = self._build(ledger)
        while True:
            # A real start that fails is tried again by whoever supervises it, with empty memory.
            try:
                opened = self._auditor.read("open_holds")
                await restore_claims(ledger, exchange.floor)
                await exchange.shared.start(exchange.replica)
                exchange.leases.joined()
                break
            except GollemError:
                await asyncio.sleep(0.1)
                self.exchange = exchange = self._build(ledger)
        self._ready = True
        for hold in opened:
            self._auditor.must_claim(process, self, hold.order_id)
        process.spawn(_repeat(_TICK_S, _tick(exchange.floor)))
        for chore in (exchange.leases.renew_waiting, exchange.leases.restore_lost) if self.link else ():
            process.spawn(_repeat(NODES.heartbeat_ms / 1_000, chore))
        for chore in self.chores(exchange):
            process.spawn(_repeat(EXCHANGE.sweep_interval_ms / 1_000, chore))

    def chores(self, exchange: Exchange) -> list[Callable[[], Awaitable[object]]]:
        return [exchange.settlement.expire_overdue, exchange.settlement.release_ended, exchange.reports.review]

    def _build(self, ledger: object) -> Exchange:
        clock = self.clock
        registry = Registry(PROVIDERS)
        shared = self._shared_book()
        floor = Floor(MemoryBook(CATALOGUE), registry, clock, shared.announce)
        links = AgentLinks(registry, clock, shared.announce)
        waiting = WaitingRoom(floor, limit=16, limit_per_user=4)
        commits = Commits()
        leases = Leases(shared, floor, ledger, commits, clock, NODES if self.link else NodesConfig())
        spending = Spending(ledger, clock)
        settlement = Settlement(floor, ledger, links, leases, commits, clock, spending.ended)
        reports = Reports(floor, ledger, settlement, links, clock, PROVIDERS, shared.announce)
        limits = ClientLimits(RateLimiter(1_000, 1_000, clock), shared.announce)
        market = MarketConfig(fee_bps=FEE_BPS)
        return Exchange(
            floor,
            links,
            waiting,
            settlement,
            Orders(
                floor,
                ledger,
                CATALOGUE,
                settlement,
                links,
                leases,
                waiting,
                commits,
                clock,
                market,
                EXCHANGE,
                spending=spending,
            ),
            Asks(floor, registry, links, settlement, PROVIDERS),
            reports,
            Accounts(ledger, LowBalanceWatch(ledger, clock), spending, clock),
            leases,
            shared,
            Replica(floor, links, leases, reports, limits, shared),
        )

    def _shared_book(self) -> SharedBook:
        if self.link is None:
            return MemoryNodes(self.name, "test", self.clock)
        chance = Random(self._world.dice.getrandbits(64))
        nodes = RedisNodes(replace(NODES, name=self.name), "test", self.clock, chance=chance, connect=self.link.connect)
        return _Overheard(nodes, self.link, self._auditor)  # type: ignore[return-value]


class _Overheard:
    """A SharedBook whose answers the auditor hears."""

    def __init__(self, nodes: RedisNodes, link: Link, auditor: "Auditor") -> None:
        self._nodes = nodes
        self._link = link
        self._auditor = auditor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._nodes, name)

    async def claim(self, request: ClaimRequest) -> Granted | Refused:
        answer = await self._nodes.claim(request)
        if self._auditor.rooms:
            self._auditor.rooms.answered(self._link, request, answer)
        return answer


def _tick(floor: Floor) -> Callable[[], Awaitable[None]]:
    async def tick() -> None:
        floor.tick()

    return tick


async def _repeat(every_s: float, work: Callable[[], Awaitable[object]]) -> None:
    """As the application's chores: the world's failures are survived, our own are not."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await work()
        except GollemError:
            continue
