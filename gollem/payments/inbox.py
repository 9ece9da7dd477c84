"""Events of the payment provider: each stored once before anybody is told that it came, and handled until it is done.

An event only names an object, which its handler fetches: so it may come twice, late, in any order, or be one that is
made here for a payment that no event ever told of. Whatever breaks off is done again; handlers move their objects
forward only.
"""

import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from gollem.clock import Clock
from gollem.errors import InvalidField, Overtaken, WrongState
from gollem.ledger import Ledger, Record, accounts, records, rules
from gollem.payments.alerts import raise_alert, words_of
from gollem.payments.gateway import PaymentGateway
from gollem.payments.types import Event, Payment, PaymentStatus
from gollem.payments.watermark import Watermark

_log = logging.getLogger(__name__)
PAGE = 64
MAX_PAGES = 4  # looked at in one go
MAX_TRIES = 20
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 15_000, 6 * 3_600_000  # all tries together take two days
_MAX_FIELD_CHARS = 1_024
_POLLED = "payment_intent.polled"

Handler = Callable[[Event], Awaitable[None]]


class Inbox:
    """Records of kind `event`: NEW, DONE, or DEAD. `handlers` by the beginning of an event's type: of several that fit,
    the longest."""

    def __init__(self, ledger: Ledger, gateway: PaymentGateway, handlers: Mapping[str, Handler], clock: Clock) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._handlers = dict(sorted(handlers.items(), key=lambda item: -len(item[0])))
        self._clock = clock
        self._worked_to = ""
        self._events = Watermark(ledger, clock, "events", gateway.events_since, self._store_listed)
        self._payments = Watermark(ledger, clock, "payments", gateway.payments_since, self._store_paid)
        self.counts: Counter[str] = Counter()  # events that were stored, done, tried in vain, or died

    async def receive(self, raw: bytes, signature: str) -> bool:
        """Store the event of a webhook. Returns whether it was new. Once this has returned, it is not lost.

        Raises Unauthenticated, Forbidden, InvalidField; LedgerUnavailable or OutcomeUnknown: it has to come again."""
        return await self._store(self._gateway.read_event(raw, signature))

    async def work(self) -> int:
        """Handle what is due, the oldest first, a bounded number. Returns how many are done."""
        done = 0
        for _ in range(MAX_PAGES):
            page = await self._ledger.records(records.EVENT, "NEW", self._worked_to, PAGE)
            self._worked_to = page[-1].id if len(page) == PAGE else ""
            for record in page:
                done += await self._work_on(record)
            if not self._worked_to:
                break
        return done

    async def poll(self) -> int:
        """Store what webhooks have missed. Returns how many events that was."""
        return await self._events.catch_up() + await self._payments.catch_up()

    # --- storing ----------------------------------------------------------------------------------------------------

    async def _store(self, event: Event) -> bool:
        """One that nobody here handles is done."""
        if not accounts.is_name(event.event_id) or max(len(event.type), len(event.object_id)) > _MAX_FIELD_CHARS:
            raise InvalidField("event", "its id, its type or its object cannot be stored")
        name = _name(event)
        if await self._ledger.find_record(records.EVENT, name):
            return False
        state = "NEW" if self._handler(event.type) else "DONE"
        stored = Record(records.EVENT, name, state, _fields(event))
        posted = await self._ledger.post(rules.noted(None, stored, self._clock.now_ms()))
        self.counts["stored"] += posted.applied
        return posted.applied

    async def _store_listed(self, event: Event) -> bool:
        """Of all that happens there, what is handled here. One that cannot be stored does not stop the reading."""
        if self._handler(event.type) is None:
            return False
        try:
            return await self._store(event)
        except InvalidField as error:
            _log.warning("an event of type %s cannot be stored: %s", event.type[:64], error)
            return False

    async def _store_paid(self, payment: Payment) -> bool:
        """A payment that is over, as an event of ours, unless its credits are booked."""
        if payment.status not in (PaymentStatus.SUCCEEDED, PaymentStatus.CANCELLED):
            return False
        if await self._ledger.find_entry(f"purchase:{payment.payment_id}"):
            return False
        event_id = f"{payment.payment_id}.{payment.status}"[:64]
        return await self._store(Event(event_id, _POLLED, payment.payment_id, payment.created_ms, payment.livemode))

    # --- handling ---------------------------------------------------------------------------------------------------

    async def _work_on(self, record: Record) -> bool:
        """Whether it is done now. The try is counted before it is made, so that an event that kills its server does not
        do so for ever, and two servers seldom try at once."""
        now_ms = self._clock.now_ms()
        if record.number("due_ms") > now_ms:
            return False
        tries = record.number("tries")
        if tries >= MAX_TRIES:
            await self._bury(record)
            return False
        pause_ms = min(FIRST_PAUSE_MS << tries, LONGEST_PAUSE_MS)
        tried = await self._change(record, "NEW", {"tries": tries + 1, "due_ms": now_ms + pause_ms})
        if tried is None or not await self._handle(tried):
            return False
        await self._change(tried, "DONE", {})
        self.counts["done"] += 1
        return True

    async def _handle(self, record: Record) -> bool:
        event = self._event(record)
        handler = self._handler(event.type)
        try:
            if handler:
                await handler(event)
        except Exception as error:  # one bad event keeps none of the others waiting
            self.counts["failed"] += 1
            _log.warning(
                "event %s (%s), try %d: %s", event.event_id, event.type, record.number("tries"), words_of(error)
            )
            return False
        return True

    async def _bury(self, record: Record) -> None:
        """No more tries. The alert comes first: a crash in between repeats it, and it is told once."""
        event_id = record.text("event_id")
        message = f"{record.text('type')} of {record.text('object_id')} failed {MAX_TRIES} times: see the log"
        await raise_alert(self._ledger, self._clock, f"event:{event_id}", f"event {event_id}", message)
        if await self._change(record, "DEAD", {}):
            self.counts["dead"] += 1

    async def revive(self, event_name: str, operator: str) -> bool:
        """Try a DEAD event again, from the first try: somebody has mended what it died of. Whether this call did it.
        Raises WrongState."""
        record = await self._ledger.find_record(records.EVENT, event_name)
        if record is None or record.state != "DEAD":
            state = record.state if record else "ABSENT"
            raise WrongState(f"event {event_name} is {state}", kind=records.EVENT, id=event_name, state=state)
        return await self._change(record, "NEW", {"tries": 0, "due_ms": 0, "revived_by": operator}) is not None

    async def _change(self, record: Record, state: str, fields: dict[str, str | int]) -> Record | None:
        """The record as it is now; None if somebody else has changed it."""
        changed = Record(record.kind, record.id, state, {**record.fields, **fields})
        try:
            posted = await self._ledger.post(rules.noted(record, changed, self._clock.now_ms()))
        except Overtaken:
            return None
        return await self._ledger.find_record(record.kind, record.id) if posted.applied else None

    def _handler(self, event_type: str) -> Handler | None:
        return next((handler for start, handler in self._handlers.items() if event_type.startswith(start)), None)

    def _event(self, record: Record) -> Event:
        return Event(
            event_id=record.text("event_id"),
            type=record.text("type"),
            object_id=record.text("object_id"),
            created_ms=record.number("created_ms"),
            livemode=self._gateway.livemode,
            connected_id=record.text("connected_id"),
            about=json.loads(record.text("about")),
        )


def _name(event: Event) -> str:
    """Sorts by age, so that the oldest come first."""
    return f"{event.created_ms:015d}.{event.event_id}"


def _fields(event: Event) -> dict[str, str | int]:
    """Metadata that is too long for a field is left out: handlers fetch the object anyway."""
    about = json.dumps(dict(event.about))
    return {
        "event_id": event.event_id,
        "type": event.type,
        "object_id": event.object_id,
        "created_ms": event.created_ms,
        "connected_id": event.connected_id,
        "about": about if len(about) <= _MAX_FIELD_CHARS else "{}",
        "tries": 0,
        "due_ms": 0,
    }
