"""Builds every object once, starts them in order, stops them in reverse."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Sized
from pathlib import Path
from random import uniform

import uvloop

from gollem import __version__
from gollem.bridge import Bridge, dashboard
from gollem.clock import Clock, SystemClock
from gollem.config import Config, ConfigError
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
    Tally,
    Tape,
    Views,
    WaitingRoom,
    restore_claims,
)
from gollem.identity import KeyStore, RateLimiter, open_key_store
from gollem.ledger import Desk, Ledger, LowBalanceWatch, Reconciler, name_of, open_ledger
from gollem.market import Catalogue, MemoryBook
from gollem.nodes import SharedBook, open_shared_book
from gollem.observability import Emf, HttpDoor, Meters, Phase, Readiness, Sample, metrics, watch_loop
from gollem.payments import Payments, open_payments
from gollem.providers import Registry
from gollem.rpc import Edge, GrantSigner
from gollem.units import ATOMS_PER_CENT
from gollem.watch import LedgerOperations, Watch, Watched, redis_timer

_log = logging.getLogger(__name__)
_TICK_MS = 100
_REST = 20  # of checks that read a lot: at most a twentieth of the time


class App:
    """One exchange: ledger, book, edge, and what runs beside them."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.config = config
        self._clock = clock or SystemClock()
        self._edge: Edge | None = None
        self._meters, self._readiness = Meters(), Readiness(self._clock)
        self._http = HttpDoor(
            self._meters, self._readiness, self._clock, config.server.metrics_host, config.server.metrics_port
        )
        self.payments: Payments | None = None
        self.bridge: Bridge | None = None
        self._chores: list[asyncio.Task[None]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []

    @property
    def port(self) -> int:
        """The gRPC port, once started."""
        assert self._edge is not None, "not started"
        return self._edge.port

    @property
    def metrics_port(self) -> int:
        """The HTTP port of metrics and health, once started."""
        return self._http.port

    async def start(self) -> None:
        """Open what is stored, take up the orders under way, then listen. Whatever fails is undone."""
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise

    async def stop(self) -> None:
        """Drain, then close. Idempotent."""
        self._readiness.phase = Phase.DRAINING
        if self._edge is not None:
            cut_off = await self._edge.drain()
            if cut_off:
                _log.warning("%d calls were cut off at the end of the drain", cut_off)
        await self._close()

    async def _start(self) -> None:
        config, clock = self.config, self._clock
        await self._open_http()
        data = config.storage.folder()
        ledger = LedgerOperations(self._meters).of(await open_ledger(config.storage.ledger_url()))
        self._closers.append(ledger.close)
        keys = await open_key_store(data, clock, config.storage.keys)
        self._closers.append(keys.close)
        cap_atoms = config.payments.adjustment_cap_cents * ATOMS_PER_CENT
        desk = Desk(ledger, clock, delay_days=config.payments.delay_days, cap_atoms=cap_atoms)
        self.payments = await open_payments(config.payments, ledger, desk, clock, data)
        if self.payments:
            self._closers.append(self.payments.close)
        edge = await self._build(ledger, Cases(ledger, desk, clock, _has_key(keys)), keys, data)
        await self._open_bridge()
        await edge.start()
        self._edge = edge
        self._readiness.phase = Phase.SERVING
        self._watch_the_books(ledger)
        for chore in self.payments.chores() if self.payments else ():
            self._chore(chore.every_ms, chore.work, rest=1, first_ms=chore.first_ms)

    async def _open_bridge(self) -> None:
        """HTTP, for whoever needs it: webhooks and the dashboard."""
        config, payments = self.config, self.payments
        routes = payments.routes() if payments else []
        if config.bridge.dashboard:
            routes += dashboard(config.payments.gateway, config.payments.stripe_publishable_key)
        if not routes:
            return
        self.bridge = Bridge(config.bridge, routes)
        await self.bridge.start()
        self._closers.append(self.bridge.stop)
        if payments:
            payments.serve_at(self.bridge.url)
        if config.bridge.dashboard:
            _log.info("the dashboard's pages are on %s, for the gateway to serve beside the API", self.bridge.url)

    async def _build(self, ledger: Ledger, cases: Cases, keys: KeyStore, data: Path) -> Edge:
        """The exchange itself, with the orders that were under way, and its chores."""
        config, clock, payments = self.config, self._clock, self.payments
        catalogue = Catalogue.load(Path(config.market.catalogue) if config.market.catalogue else None)
        registry = Registry(config.providers)
        signer = GrantSigner.open(data / "grant.key", config.storage.grant_keys)
        shared, floor = self._open_floor(catalogue, registry, signer)
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
            Tally(lambda seconds: self._meters.observe(metrics.MATCH_SECONDS, seconds)),
        )
        reports = Reports(floor, ledger, settlement, links, clock, config.providers, shared.announce)
        limiter = RateLimiter(config.server.requests_per_second, config.server.burst, clock)
        limits = ClientLimits(limiter, shared.announce)
        await self._join(ledger, floor, shared, Replica(floor, links, leases, reports, limits, shared), limits)
        self._keep_up(floor, reports, settlement, leases, low_balance, spending)
        queues = _lengths(bids=waiting, commits=commits, leases=leases, reports=reports)
        self._tell(Watched(floor, registry, waiting, orders.tally, shared, ledger, payments, queues))
        overview = Overview(ledger, floor, registry, waiting, shared, cases, clock)
        return Edge(
            config=config,
            clock=clock,
            catalogue=catalogue,
            floor=floor,
            waiting=waiting,
            orders=orders,
            asks=Asks(floor, registry, links, settlement, config.providers, *_admission(payments)),
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
            meters=self._meters,
        )

    def _open_floor(self, catalogue: Catalogue, registry: Registry, signer: GrantSigner) -> tuple[SharedBook, Floor]:
        """The book that nodes share, and this one's own."""
        timed, ledger = redis_timer(self._meters), name_of(self.config.storage.ledger_url())
        shared = open_shared_book(self.config.nodes, __version__, self._clock, signer.names, timed, ledger)
        self._closers.append(shared.close)
        return shared, Floor(MemoryBook(catalogue), registry, self._clock, shared.announce)

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

    def _tell(self, watched: Watched) -> None:
        """Figures for those who watch."""
        settings = self.config.observability
        watch = Watch(watched, self._meters, self._readiness, self._clock, settings)
        self._chore(settings.read_interval_ms, watch.look, rest=1, first_ms=_TICK_MS)
        self._chore(settings.read_interval_ms, self._readiness.look, first_ms=_TICK_MS)
        self._chores.append(asyncio.create_task(watch_loop(self._meters)))
        if settings.emf:
            emf = Emf(self._meters, self._clock, self.config.nodes.own_name())
            self._chore(settings.emf_interval_ms, emf.step)

    async def _open_http(self) -> None:
        """Before all else, so that a start can be watched. Raises ConfigError."""
        server = self.config.server
        try:
            await self._http.start()
        except OSError as error:
            raise ConfigError(
                f"server.metrics_port: cannot listen on {server.metrics_host}:{server.metrics_port} "
                f"({error.strerror or error}): name another with --set server.metrics_port=N, and server.metrics_host"
            ) from error
        self._closers.append(self._http.stop)
        self._meters.read_from("server", self._told_of_itself)

    def _told_of_itself(self) -> list[Sample]:
        return [Sample(metrics.BUILD, 1, (__version__,)), Sample(metrics.READY, self._readiness.was_ready)]

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


def _admission(payments: Payments | None) -> tuple[Callable[[str], Awaitable[None]], ...]:
    """Who sells for real money must be one that it can be paid to."""
    return (payments.onboarding.require_payable,) if payments and payments.is_real else ()


def _lengths(**queues: Sized) -> dict[str, Callable[[], int]]:
    """What waits in each, as it is whenever it is asked."""
    return {name: queue.__len__ for name, queue in queues.items()}


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
    come at once, and with `rest` at least so many times as long as the work took; once as long at most after a failure,
    which may have been nothing but waiting for somebody who is back by then."""
    pause_ms = every_ms if first_ms is None else min(first_ms, every_ms)
    while True:
        jitter = uniform(0.9, 1.1)  # noqa: S311 - no secret
        await asyncio.sleep(pause_ms * jitter / 1_000)
        started_ms = clock.monotonic_ms()
        failure = await _failure(work)
        took_ms = clock.monotonic_ms() - started_ms
        pause_ms = max(every_ms, (min(rest, 1) if failure else rest) * took_ms)
        if isinstance(failure, GollemError):  # it says what is wrong: where that came up tells nothing more
            _log.warning("a chore failed; it runs again in %d ms: %s: %s", pause_ms, type(failure).__name__, failure)
        elif failure:
            _log.error("a chore failed; it runs again in %d ms", pause_ms, exc_info=failure)


async def _failure(work: Callable[[], Awaitable[object]]) -> Exception | None:
    try:
        await work()
    except Exception as error:
        return error
    return None


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
