"""Builds every part of the agent once, starts them in order, and stops them in the other order."""

import asyncio
import logging
import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack

from gollem_client import ChannelPool, Exchange, GollemError, Timeouts
from gollem_client.stubs import GpuStatus, RegisterRequest, TelemetryRequest
from grpclib_guard import GuardedServer, Limits
from provider_agent.clock import Clock, SystemClock
from provider_agent.events import OrderEvents
from provider_agent.exchange_link import ExchangeLink
from provider_agent.gpu import GpuReader
from provider_agent.inference_service import InferenceService
from provider_agent.journal import Journal
from provider_agent.metrics import AgentMetrics, Gauge, gpu_gauges
from provider_agent.metrics_door import MetricsDoor
from provider_agent.model_watch import ModelWatch
from provider_agent.options import Options
from provider_agent.running import Running
from provider_agent.settler import Settler
from provider_agent.upstream import Upstream, UpstreamTimeouts
from provider_agent.watch import Watch

_log = logging.getLogger(__name__)

_HOUSEKEEPING_S = 1.0
# Consumers who have read their answers and hung up are not waited for.
_PARTING_MS = 200
_SETTLE_AT_EXIT_MS = 5_000
_DEREGISTER_AT_EXIT_S = 5.0
# Orders that the exchange is reminded of when it comes back.
_MOST_BEGUN = 10_000


class Agent:
    """One ask, from registration to deregistration."""

    def __init__(
        self,
        options: Options,
        clock: Clock | None = None,
        timeouts: Timeouts | None = None,
        upstream_timeouts: UpstreamTimeouts | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._options = options
        self._clock = clock or SystemClock()
        timeouts = timeouts or Timeouts()
        self._pool = ChannelPool(timeouts.connect_ms)
        exchange = Exchange(options.exchange, options.api_key, self._pool, timeouts)
        upstream_model = options.upstream_model or options.model
        upstream_timeouts = upstream_timeouts or UpstreamTimeouts()
        self._upstream = Upstream(options.upstream, upstream_model, upstream_timeouts, options.upstream_api_key)
        self._gpu_reader = GpuReader()
        self._gpus: list[GpuStatus] = []
        self._unsettled = 0
        self._running = Running(options.slots)
        self._journal = Journal(options.folder)
        self._metrics = AgentMetrics(options.model)
        self._watch = Watch(self._upstream, exchange, options.provider_id)
        self._door: MetricsDoor | None = None
        self._settler = Settler(self._journal, exchange, options.provider_id, self._metrics)
        self._events = OrderEvents()
        self._model = ModelWatch(self._upstream, upstream_timeouts.watch_ms, self._events.wake.set)
        self._ask = _ask(options)
        self._link = ExchangeLink(
            exchange,
            self._ask,
            self._events,
            self._measure,
            lambda: self._journal.begun(_MOST_BEGUN),
            lambda order_id: self._service.cancelled(order_id),
            self._clock,
        )
        limits = limits or Limits()
        self._service = InferenceService(
            self._link,
            self._upstream,
            self._running,
            self._journal,
            self._settler,
            self._events,
            self._clock,
            limits.stall_timeout_ms,
            self._metrics,
        )
        self._server = GuardedServer([self._service], limits=limits)
        self._stop = asyncio.Event()
        # Set once the ask is in the book.
        self.ready = asyncio.Event()

    @property
    def endpoint(self) -> str:
        """Where consumers reach it, once it is ready."""
        return self._ask.endpoint

    @property
    def metrics_port(self) -> int | None:
        """Where its metrics are, once it is ready; None: nowhere."""
        return self._door.port if self._door else None

    def stop(self) -> None:
        """Ask it to leave the book, finish what runs, settle, and return from `run`."""
        self._stop.set()

    async def run(self) -> None:
        """Sell until `stop`. Raises GollemError when the exchange refuses the ask, JournalInUse, OSError."""
        async with AsyncExitStack() as stack:
            cut_off = await self._journal.open()
            stack.push_async_callback(self._journal.close)
            stack.callback(self._pool.close)
            if cut_off:
                _log.warning("%d orders were cut off by a crash; what they had delivered is settled now", cut_off)
            await stack.enter_async_context(self._upstream)
            await self._open_door(stack)
            await self._listen()
            stack.push_async_callback(self._server.drain, 0)
            await self._work()

    async def _work(self) -> None:
        """Everything that runs at once; ends when told to stop."""
        try:
            async with asyncio.TaskGroup() as group:
                works = self._settler.run(), self._keep_house(), self._model.run(), self._sell(), self._watch_if_told()
                tasks = [group.create_task(work) for work in works]
                await self._stop.wait()
                await self._leave()
                self._link.end()
                for task in tasks:
                    task.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _open_door(self, stack: AsyncExitStack) -> None:
        """Metrics and health, where they are wanted. Raises OSError."""
        options = self._options
        if options.metrics_port is not None:
            self._metrics.gauges(self._gauges)
            self._metrics.gauges(self._watch.gauges)
            door = MetricsDoor(self._metrics, self._is_selling, options.metrics_host, options.metrics_port)
            self._door = await stack.enter_async_context(door)
            _log.info("metrics on http://%s:%d/metrics", options.metrics_host, door.port)

    async def _watch_if_told(self) -> None:
        if self._door is not None:
            await self._watch.run()

    def _is_selling(self) -> bool:
        return self.ready.is_set() and self._model.ready.is_set() and not self._stop.is_set()

    def _gauges(self) -> Iterator[Gauge]:
        """What is so now."""
        figures = (
            ("gollem_agent_selling", "1 while orders are taken.", float(self._is_selling())),
            ("gollem_agent_model_ready", "1 while the model server answers.", float(self._model.ready.is_set())),
            ("gollem_agent_running_orders", "Generations under way.", len(self._running)),
            ("gollem_agent_slots", "Generations that may be under way at once.", self._options.slots),
            ("gollem_agent_unsettled_orders", "Generations that wait to be settled.", self._unsettled),
        )
        for name, about, value in figures:
            yield name, about, (), [((), float(value))]
        yield from gpu_gauges(self._gpus)

    async def _sell(self) -> None:
        await self._model.ready.wait()
        await self._link.register_at_last()
        self.ready.set()
        await self._link.run()

    async def _leave(self) -> None:
        """New orders go elsewhere, running ones end, earnings are settled; then the ask leaves the book.

        Not before: an exchange that cannot ask this agent gives the money of a cancelled order back, served or not.
        """
        self._link.leave()
        await self._running.drain(self._options.drain_ms)
        # Some clients drop what they have not read yet when they are told that the connection closes.
        await self._server.left(_PARTING_MS)
        await self._server.drain(self._options.drain_ms)
        await self._service.ended()
        if not await self._settler.drained(_SETTLE_AT_EXIT_MS):
            _log.warning("some orders are not settled yet; start the agent again with the same state to settle them")
        if self.ready.is_set():
            await self._deregister()

    async def _deregister(self) -> None:
        try:
            async with asyncio.timeout(_DEREGISTER_AT_EXIT_S):
                await self._link.deregister()
        except (GollemError, TimeoutError) as error:
            _log.warning("not deregistered, the exchange will notice by itself: %s", error or "no answer in time")

    async def _listen(self) -> None:
        host, port = self._options.listen_address
        await self._server.start(host, port, ssl=_tls(self._options))
        self._ask.endpoint = self._options.endpoint_at(self._server.port)
        _log.info("listening at port %d; consumers are told %s", self._server.port, self._ask.endpoint)
        if self._options.told_port not in (None, self._server.port):
            _log.warning("the ports differ: does something pass %s on to here?", self._ask.endpoint)

    async def _keep_house(self) -> None:
        """Each second: note progress for the case of a crash, look at the GPUs, forget what is long over."""
        while True:
            await self._journal.progress(self._running.delivered())
            await self._journal.forget(self._clock.now_ms())
            self._unsettled = len(await self._journal.unsettled(_MOST_BEGUN))
            self._gpus = await asyncio.to_thread(self._gpu_reader.read)
            await asyncio.sleep(_HOUSEKEEPING_S)

    async def _measure(self) -> TelemetryRequest:
        open_for_orders = self._model.ready.is_set() and not self._stop.is_set()
        slots = self._options.slots if open_for_orders else 0
        return TelemetryRequest(running=len(self._running), queued=0, capacity_slots=slots, gpus=self._gpus)


def _ask(options: Options) -> RegisterRequest:
    """The endpoint is filled in when the port is known."""
    return RegisterRequest(
        provider_id=options.provider_id,
        ask_id=options.ask_id,
        model=options.model,
        gpu_type=options.gpu_type,
        price=options.price,
        completion_price=options.completion_price,
        credit_rate=options.credit_rate,
        latency_ms=options.latency_ms,
        throughput_tps=options.throughput_tps,
        capacity_tokens=options.total_tokens,
        capacity_slots=options.slots,
        max_requests_per_minute=options.max_requests_per_minute,
    )


def _tls(options: Options) -> ssl.SSLContext | None:
    if options.tls_cert is None or options.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(options.tls_cert, options.tls_key)
    return context
