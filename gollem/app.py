"""Builds every object once, starts them in order, stops them in reverse."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import uniform

import uvloop

from gollem import __version__
from gollem.bridge import Bridge, dashboard
from gollem.clock import Clock, SystemClock
from gollem.config import Config
from gollem.errors import GollemError
from gollem.exchange import (
    Accounts,
    Advice,
    AgentLinks,
    Asks,
    Cases,
    ClientLimits,
    Commits,
    Floor,
    Leases,
    Orders,
    Overview,
    Replica,
    Reports,
    Settlement,
    Spending,
    SpendReport,
    Tape,
    Views,
    WaitingRoom,
    restore_claims,
)
from gollem.identity import KeyStore, RateLimiter, open_key_store
from gollem.ledger import Desk, Ledger, LowBalanceWatch, Reconciler, open_ledger
from gollem.market import Catalogue, MemoryBook
from gollem.nodes import SharedBook, open_shared_book
from gollem.payments import Payments, open_payments
from gollem.providers import Registry
from gollem.rpc import Edge, GrantSigner
from gollem.units import ATOMS_PER_CENT

_log = logging.getLogger(__name__)
_TICK_MS = 100
_REST = 20  # of checks that read a lot: at most a twentieth of the time


class App:
    """One exchange: ledger, book, edge, and what runs beside them."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.config = config
        self._clock = clock or SystemClock()
        self._edge: Edge | None = None
        self.payments: Payments | None = None
        self.bridge: Bridge | None = None
        self._chores: list[asyncio.Task[None]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []

    @property
    def port(self) -> int:
        """The gRPC port, once started."""
        assert self._edge is not None, "not started"
        return self._edge.port

    async def start(self) -> None:
        """Open what is stored, take up the orders under way, then listen. Whatever fails is undone."""
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise

    async def stop(self) -> None:
        """Drain, then close. Idempotent."""
        if self._edge is not None:
            cut_off = await self._edge.drain()
            if cut_off:
                _log.warning("%d calls were cut off at the end of the drain", cut_off)
        await self._close()

    async def _start(self) -> None:
        config, clock = self.config, self._clock
        data = config.storage.folder()
        ledger = await open_ledger(config.storage.ledger_url())
        self._closers.append(ledger.close)
        keys = await open_key_store(data, clock, config.storage.keys)
        self._closers.append(keys.close)
        cap_atoms = config.payments.adjustment_cap_cents * ATOMS_PER_CENT
        desk = Desk(ledger, clock, delay_days=config.payments.delay_days, cap_atoms=cap_atoms)
        self.payments = await open_payments(config.payments, ledger, desk, clock, data)
        if self.payments:
            self._closers.append(self.payments.close)
        edge = await self._build(ledger, desk, keys, data)
        await self._open_bridge()
        await edge.start()
        self._edge = edge
        self._watch_the_books(ledger)
        for chore in self.payments.chores() if self.payments else ():
            self._chore(chore.every_ms, chore.work, rest=1, first_ms=chore.first_ms)

    async def _open_bridge(self) -> None:
        """HTTP, for whoever needs it: webhooks and the dashboard."""
        config, payments = self.config, self.payments
        routes = payments.routes() if payments else []
        if config.bridge.has_dashboard:
            routes += dashboard(config.payments.gateway, config.payments.stripe_publishable_key)
        if not routes:
            return
        self.bridge = Bridge(config.bridge, routes)
        await self.bridge.start()
        self._closers.append(self.bridge.stop)
        if payments:
            payments.serve_at(self.bridge.url)
        if config.bridge.has_dashboard:
            _log.info("the dashboard's pages are on %s, for the gateway to serve beside the API", self.bridge.url)

    async def _build(self, ledger: Ledger, desk: Desk, keys: KeyStore, data: Path) -> Edge:
        """The exchange itself, with the orders that were under way, and its chores."""
        config, clock, payments = self.config, self._clock, self.payments
        catalogue = Catalogue.load(Path(config.market.catalogue) if config.market.catalogue else None)
        registry = Registry(config.providers)
        signer = GrantSigner.open(data / "grant.key", config.storage.grant_keys)
        shared = open_shared_book(config.nodes, __version__, clock, signer.names)
        self._closers.append(shared.close)
        floor = Floor(MemoryBook(catalogue), registry, clock, shared.announce)
        links = AgentLinks(registry, clock, shared.announce)
        waiting = WaitingRoom(floor, config.market.max_resting_bids, config.market.max_resting_bids_per_account)
        commits = Commits()
        self._closers.append(commits.finish)
        leases = Leases(shared, floor, ledger, commits, clock, config.nodes)
        spending, tape, low_balance = Spending(ledger, clock), Tape(clock), LowBalanceWatch(ledger, clock)
        settlement = Settlement(floor, ledger, links, leases, commits, clock, spending.ended)
        orders = Orders(
            floor,
            ledger,
            catalogue,
            settlement,
            links,
            leases,
            waiting,
            commits,
            clock,
            config.market,
            config.exchange,
            _debited(low_balance, payments),
            spending,
            tape,
        )
        reports = Reports(floor, ledger, settlement, links, clock, config.providers, shared.announce)
        limiter = RateLimiter(config.server.requests_per_second, config.server.burst, clock)
        limits = ClientLimits(limiter, shared.announce)
        await self._join(ledger, floor, shared, Replica(floor, links, leases, reports, limits, shared), limits)
        self._keep_up(floor, reports, settlement, leases, low_balance, spending)
        cases = Cases(ledger, desk, clock, _has_key(keys))
        overview = Overview(ledger, floor, registry, waiting, shared, cases, clock)
        admission = (payments.onboarding.require_payable,) if payments and payments.is_real else ()
        return Edge(
            config=config,
            clock=clock,
            catalogue=catalogue,
            floor=floor,
            waiting=waiting,
            orders=orders,
            asks=Asks(floor, registry, links, settlement, config.providers, *admission),
            links=links,
            settlement=settlement,
            reports=reports,
            accounts=Accounts(ledger, low_balance, spending, clock),
            views=Views(tape, Advice(floor, registry, tape, catalogue), SpendReport(ledger, clock), overview),
            cases=cases,
            payments=payments,
            keys=keys,
            limiter=limiter,
            shared=shared,
            signer=signer,
        )

    async def _join(
        self, ledger: Ledger, floor: Floor, shared: SharedBook, replica: Replica, limits: ClientLimits
    ) -> None:
        """Take up what was under way, then hear of the other nodes and let them hear."""
        restored = await restore_claims(ledger, floor)
        if restored:
            _log.info("%d orders were under way and keep their capacity", restored)
        await shared.start(replica)
        if not self.config.nodes.is_alone:
            self._chore(self.config.nodes.heartbeat_ms, _as_async(limits.tell))

    def _keep_up(
        self,
        floor: Floor,
        reports: Reports,
        settlement: Settlement,
        leases: Leases,
        low_balance: LowBalanceWatch,
        spending: Spending,
    ) -> None:
        """What time brings, and what other nodes may have left undone. Any number of nodes may do it at once."""
        config = self.config
        leases.joined()
        self._chore(_TICK_MS, _as_async(floor.tick))
        self._chore(_TICK_MS, reports.review)
        self._chore(config.exchange.sweep_interval_ms, settlement.expire_overdue)
        self._chore(config.exchange.sweep_interval_ms, settlement.release_ended)
        self._chore(config.nodes.heartbeat_ms, leases.renew_waiting)
        self._chore(config.nodes.heartbeat_ms, leases.restore_lost)
        self._chore(_TICK_MS, low_balance.look)
        self._chore(_TICK_MS, spending.give_back)
        self._chore(config.reconcile.alert_interval_ms, low_balance.sweep, rest=_REST)

    def _watch_the_books(self, ledger: Ledger) -> None:
        """Never on an order's way: checks read in threads, and rest twenty times as long as they took."""
        settings = self.config.reconcile
        copy = Path(settings.seal_copy) if settings.seal_copy else None
        reconciler = Reconciler(ledger, self._clock, grace_ms=settings.hold_grace_ms, seal_copy=copy)

        self._chore(settings.quick_interval_ms, reconciler.run_quick, rest=_REST)
        self._chore(settings.deep_interval_ms, reconciler.run_deep, rest=_REST)
        self._chore(settings.seal_interval_ms, reconciler.seal, rest=_REST)

    def _chore(
        self, every_ms: int, work: Callable[[], Awaitable[object]], rest: int = 0, first_ms: int | None = None
    ) -> None:
        self._chores.append(asyncio.create_task(_repeat(every_ms, work, self._clock, rest, first_ms)))

    async def _close(self) -> None:
        for task in self._chores:
            task.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        self._chores.clear()
        while self._closers:
            await self._closers.pop()()


def _debited(low_balance: LowBalanceWatch, payments: Payments | None) -> Callable[[str], None]:
    """Who hears of every user that was just debited."""
    if payments is None:
        return low_balance.note_user

    def note(user: str) -> None:
        low_balance.note_user(user)
        payments.top_ups.note_user(user)

    return note


def _has_key(keys: KeyStore) -> Callable[[str], Awaitable[bool]]:
    async def has_key(account: str) -> bool:
        return bool(await keys.list(account))

    return has_key


def _as_async(work: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        work()

    return run


async def _repeat(
    every_ms: int, work: Callable[[], Awaitable[object]], clock: Clock, rest: int, first_ms: int | None = None
) -> None:
    """For ever; a failure is logged and tried again at the next turn. The pauses are uneven, so that servers do not all
    come at once, and with `rest` at least so many times as long as the work took."""
    took_ms = 0
    soon_ms = every_ms if first_ms is None else min(first_ms, every_ms)
    while True:
        pause_ms = max(soon_ms, rest * took_ms)
        soon_ms = every_ms
        jitter = uniform(0.9, 1.1)  # noqa: S311 - no secret
        await asyncio.sleep(pause_ms * jitter / 1_000)
        started_ms = clock.monotonic_ms()
        try:
            await work()
        except GollemError as error:  # it says what is wrong: where that came up tells nothing more
            _log.warning("a chore failed; it runs again in %d ms: %s: %s", every_ms, type(error).__name__, error)
        except Exception:
            _log.exception("a chore failed; it runs again in %d ms", every_ms)
        took_ms = clock.monotonic_ms() - started_ms


async def _serve(config: Config, ready: Callable[[int], None]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    app = App(config)
    await app.start()
    try:
        ready(app.port)
        await stopping.wait()
    finally:
        await app.stop()


def serve(config: Config, ready: Callable[[int], None] = lambda port: None) -> None:
    """Run an exchange under uvloop until SIGTERM or SIGINT. `ready(port)` is called once it listens."""
    uvloop.run(_serve(config, ready))
