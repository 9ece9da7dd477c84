"""The local gateway tells of its events as Stripe does: signed, over HTTP, again if nobody took them."""

import asyncio
import hashlib
import hmac
import json
import logging
from contextlib import suppress

import aiohttp

from gollem.clock import Clock
from gollem.payments.local_store import LocalStore
from gollem.payments.types import Event

_log = logging.getLogger(__name__)
TRIES_MAX = 5  # after that, who polls learns of it
_TIMEOUT = aiohttp.ClientTimeout(total=5)


def sign(raw: bytes, secret: str, at_ms: int) -> str:
    """The header of a webhook, as `event_reader.py` describes it."""
    return f"t={at_ms // 1_000},v1={_signature(raw, secret, str(at_ms // 1_000))}"


def is_signed(raw: bytes, header: str, secret: str) -> bool:
    signed_s, _, signature = header.removeprefix("t=").partition(",v1=")
    return signed_s.isdigit() and hmac.compare_digest(signature, _signature(raw, secret, signed_s))


def _signature(raw: bytes, secret: str, at_s: str) -> str:
    return hmac.new(secret.encode(), at_s.encode() + b"." + raw, hashlib.sha256).hexdigest()


class Deliveries:
    """Of what the store has not told yet. Who tells it waits for nothing."""

    def __init__(self, store: LocalStore, clock: Clock, retry_s: float) -> None:
        self._store = store
        self._clock = clock
        self._retry_s = retry_s
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, url: str) -> None:
        self._task = asyncio.create_task(self._run(url))

    def wake(self) -> None:
        self._news.set()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, url: str) -> None:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while True:
                self._news.clear()
                events = self._store.untold()
                taken = [await self._deliver(session, url, event) for event in events]
                if not events:
                    await self._news.wait()
                elif not all(taken):
                    await asyncio.sleep(self._retry_s)

    async def _deliver(self, session: aiohttp.ClientSession, url: str, event: Event) -> bool:
        raw = _body(event)
        headers = {"Stripe-Signature": sign(raw, self._store.secret, self._clock.now_ms())}
        try:
            async with session.post(url, data=raw, headers=headers) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            _log.info("event %s was not taken: %s", event.event_id, type(error).__name__)
            self._store.not_told(event.event_id, TRIES_MAX)
            return False
        self._store.told(event.event_id)
        return True


def _body(event: Event) -> bytes:
    told = {
        "id": event.event_id,
        "object": "event",
        "type": event.type,
        "created": event.created_ms // 1_000,
        "livemode": event.livemode,
        "data": {"object": {"id": event.object_id, "metadata": dict(event.about)}},
    }
    return json.dumps(told | ({"account": event.connected_id} if event.connected_id else {})).encode()
