"""A matcher node: the real exchange, built as `gollem.app` builds it, over the shared store and a wrong clock."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gollem.config import ExchangeConfig, MarketConfig, NodesConfig, ProvidersConfig
from gollem.errors import GollemError
from gollem.exchange import (
    Accounts,
    AgentLinks,
    Asks,
    Commits,
    Floor,
    Leases,
    Orders,
    Reports,
    Settlement,
    Spending,
    WaitingRoom,
    restore_claims,
)
from gollem.ledger import LowBalanceWatch
from gollem.market import Catalogue, MemoryBook
from gollem.nodes import MemoryNodes
from gollem.providers import Registry
from tests.simulation.loop import Process
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


class Node:
    """Starts, crashes and starts again; only its clock and its name stay."""

    def __init__(self, world: World, store: SharedStore, auditor: "Auditor", name: str) -> None:
        self.name = name
        self.clock = NodeClock(world)
        self._world = world
        self._store = store
        self._auditor = auditor
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
                break
            except GollemError:
                await asyncio.sleep(0.1)
                self.exchange = exchange = self._build(ledger)
        self._ready = True
        for hold in opened:
            self._auditor.must_claim(process, self, hold.order_id)
        process.spawn(_repeat(_TICK_S, _tick(exchange.floor)))
        for chore in self.chores(exchange):
            process.spawn(_repeat(EXCHANGE.sweep_interval_ms / 1_000, chore))

    def chores(self, exchange: Exchange) -> list[Callable[[], Awaitable[object]]]:
        return [exchange.settlement.expire_overdue, exchange.settlement.release_ended, exchange.reports.review]

    def _build(self, ledger: object) -> Exchange:
        clock = self.clock
        registry = Registry(PROVIDERS)
        floor = Floor(MemoryBook(CATALOGUE), registry, clock)
        links = AgentLinks(registry, clock)
        waiting = WaitingRoom(floor, limit=16, limit_per_user=4)
        commits = Commits()
        leases = Leases(MemoryNodes(self.name, "test", clock), floor, ledger, commits, clock, NodesConfig())
        spending = Spending(ledger, clock)
        settlement = Settlement(floor, ledger, links, leases, commits, clock, spending.ended)
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
            Reports(floor, ledger, settlement, links, clock, PROVIDERS),
            Accounts(ledger, LowBalanceWatch(ledger, clock), spending, clock),
        )


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
