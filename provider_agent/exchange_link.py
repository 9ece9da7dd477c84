"""The agent's line to the exchange: registers, reports, listens for cancellations, comes back after a fall."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gollem_client import Exchange, GollemError
from gollem_client.stubs import (
    DeregisterRequest,
    DeregisterResponse,
    RegisterRequest,
    RegisterResponse,
    TelemetryRequest,
    TelemetryResponse,
)
from provider_agent.backoff import Backoff
from provider_agent.clock import Clock
from provider_agent.contact import Contact
from provider_agent.events import OrderEvents
from provider_agent.grants import Seller
from provider_agent.refusals import Refusal

_log = logging.getLogger(__name__)
_MOST_GRANT_KEYS = 8  # each costs a bad grant one more look


@dataclass(frozen=True, slots=True)
class Registration:
    """What the exchange answered: under which name the ask stands, and with which keys its grants may be signed."""

    seller: Seller
    grant_keys: tuple[Ed25519PublicKey, ...]
    interval_ms: int
    # The exchange counts the agent as gone after twice as long.
    cut_off_after_ms: int


class _AskUnknown(Exception):
    """The exchange has forgotten the ask: register again."""


class ExchangeLink:
    """`measure` gives a report without its identity, `begun` the orders that began and are not settled; `cancelled` is
    told of orders that consumers have cancelled."""

    def __init__(
        self,
        exchange: Exchange,
        ask: RegisterRequest,
        events: OrderEvents,
        measure: Callable[[], Awaitable[TelemetryRequest]],
        begun: Callable[[], Awaitable[Iterable[str]]],
        cancelled: Callable[[str], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._exchange = exchange
        self._ask = ask
        self._events = events
        self._measure = measure
        self._begun = begun
        self._cancelled = cancelled
        self._clock = clock
        self._backoff = Backoff()
        self._contact = Contact()
        self._sequence = 0
        self._leaving = False
        self._over = False
        self._registration: Registration | None = None

    @property
    def registration(self) -> Registration:
        """The latest. Raises Refusal NOT_SERVING before there is one, and while the exchange does not answer.

        An exchange that has not heard this agent for too long returns the money of a cancelled order without asking:
        whatever began now might be served for nothing.
        """
        if self._registration is None:
            raise Refusal("NOT_SERVING", "this provider is not registered yet")
        if self._contact.silent_ms() > self._registration.cut_off_after_ms:
            raise Refusal("NOT_SERVING", "this provider is cut off from the exchange")
        return self._registration

    @property
    def _known(self) -> Registration:
        assert self._registration is not None, "register first"
        return self._registration

    async def register(self) -> None:
        """Put the ask into the book. Raises GollemError."""
        asked_at_s = self._contact.now_s()
        answer = await self._exchange.call("ProviderService/Register", self._ask, RegisterResponse)
        self._contact.heard(asked_at_s)
        self._registration = Registration(
            seller=Seller(self._ask.provider_id, answer.ask_id, answer.model),
            grant_keys=_grant_keys(answer),
            interval_ms=max(10, answer.telemetry_interval_ms),
            cut_off_after_ms=max(100, answer.withdraw_after_ms) // 2,
        )
        _log.info("registered ask %s of %s for %s", answer.ask_id, self._ask.provider_id, answer.model)

    def leave(self) -> None:
        """Report at once, and from now on do not come back into the book, though the reports go on."""
        self._leaving = True
        self._events.wake.set()

    def end(self) -> None:
        """To be called before `run` is cancelled.

        Python 3.11's TaskGroup forgets a cancellation that meets the failure of one of its tasks, such as an exchange
        that breaks off at this moment: `run` would come back for ever.
        """
        self._over = True

    async def deregister(self) -> None:
        """Take the ask out of the book. Raises GollemError."""
        request = DeregisterRequest(provider_id=self._ask.provider_id, ask_id=self._known.seller.ask_id)
        await self._exchange.call("ProviderService/Deregister", request, DeregisterResponse)

    async def register_at_last(self) -> None:
        """Register, over an outage if need be. Raises the GollemError that waiting will not mend."""
        while True:
            try:
                await self.register()
            except GollemError as error:
                if not error.retryable:
                    raise
                _log.warning("not registered yet: %s", error.message)
                await asyncio.sleep(self._backoff.pause_s())
            else:
                self._backoff.reset()
                return

    async def run(self) -> None:
        """Keep reporting, and stay registered until told to leave. Register first."""
        while True:
            try:
                await self._report_until_it_breaks()
            except* _AskUnknown:
                _log.warning("the exchange does not know the ask any more")
            except* GollemError as failures:
                _log.warning("lost the exchange: %s", failures.exceptions[0])
            if self._over:
                return
            await asyncio.sleep(self._backoff.pause_s())
            try:
                if not self._leaving:
                    await self.register()
            except (GollemError, ValueError) as error:
                _log.warning("not registered: %s", error)

    async def _report_until_it_breaks(self) -> None:
        """One telemetry stream. Raises an ExceptionGroup of GollemError or _AskUnknown."""
        self._contact.lost()
        self._events.reconnected(await self._begun())
        async with asyncio.TaskGroup() as group:
            reports: asyncio.Queue[TelemetryRequest] = asyncio.Queue(maxsize=1)
            group.create_task(self._listen(reports))
            group.create_task(self._report(reports))

    async def _report(self, reports: "asyncio.Queue[TelemetryRequest]") -> None:
        """A report each interval, and at once when there is something to tell."""
        while True:
            await reports.put(await self._next_report())
            try:
                async with asyncio.timeout(self._known.interval_ms / 1_000):
                    await self._events.wake.wait()
            except TimeoutError:
                pass

    async def _next_report(self) -> TelemetryRequest:
        report = await self._measure()
        # Above whatever an earlier life of this agent has sent.
        self._sequence = max(self._sequence + 1, self._clock.now_ms())
        report.provider_id, report.ask_id = self._ask.provider_id, self._known.seller.ask_id
        report.sequence = self._sequence
        report.events = self._events.take(self._sequence)
        self._contact.sent(self._sequence)
        return report

    async def _listen(self, reports: "asyncio.Queue[TelemetryRequest]") -> None:
        """Take in the exchange's answers; an exchange that gives none for too long is lost."""
        silence_ms = self._known.cut_off_after_ms
        answers = self._exchange.converse("ProviderService/Telemetry", reports, TelemetryResponse, silence_ms)
        async with aclosing(answers):
            async for answer in answers:
                self._contact.answered(answer.sequence)
                self._events.acknowledged(answer.sequence)
                for order_id in answer.cancelled_orders:
                    await self._cancelled(order_id)
                if not answer.known and not self._leaving:
                    raise _AskUnknown
                self._backoff.reset()


def _grant_keys(answer: RegisterResponse) -> tuple[Ed25519PublicKey, ...]:
    """An older exchange has one and says it alone. Raises ValueError for what is no key."""
    told = answer.grant_public_keys[:_MOST_GRANT_KEYS] or [answer.grant_public_key]
    return tuple(map(Ed25519PublicKey.from_public_bytes, told))
