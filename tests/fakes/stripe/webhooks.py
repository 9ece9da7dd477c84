"""Telling events to webhook endpoints: signed as Stripe signs, and twice, out of order or never as a test wants."""

import hashlib
import hmac
import json
from random import Random
from typing import Any

import aiohttp

from gollem.clock import Clock
from tests.fakes.stripe.events import API_VERSION, Events
from tests.fakes.stripe.store import Object

_TIMEOUT_S = 5


class Webhooks:
    """Two endpoints: one for the platform's events, one for those of connected accounts. Each signs with all of its
    secrets, which is what happens while one is rotated."""

    def __init__(self, clock: Clock, events: Events, *, livemode: bool) -> None:
        self._clock = clock
        self._events = events
        self._livemode = livemode
        self.platform_secrets = ["whsec_platform_secret_of_the_fake"]
        self.connect_secrets = ["whsec_connect_secret_of_the_fake"]

    @property
    def pending(self) -> list[Object]:
        """Events not delivered yet, oldest first."""
        return list(self._events.undelivered)

    def take(self) -> list[tuple[bytes, str]]:
        """Body and signature of each pending event; none is pending after that."""
        signed = [self.signed(event) for event in self.pending]
        self._events.undelivered.clear()
        return signed

    def signed(self, event: Object) -> tuple[bytes, str]:
        """Body and signature, as of now."""
        raw = json.dumps(event, indent=2).encode()
        secrets = self.connect_secrets if event.get("account") else self.platform_secrets
        return raw, self.sign(raw, *secrets)

    def sign(self, raw: bytes, *secrets: str, at_s: int | None = None) -> str:
        """The `Stripe-Signature` of a body."""
        moment_s = self._clock.now_ms() // 1000 if at_s is None else at_s
        signatures = [hmac.new(secret.encode(), b"%d.%s" % (moment_s, raw), hashlib.sha256) for secret in secrets]
        return ",".join([f"t={moment_s}"] + [f"v1={signature.hexdigest()}" for signature in signatures])

    def forge(
        self,
        kind: str,
        thing: Object,
        *,
        secret: str = "whsec_of_a_stranger",
        at_s: int | None = None,
        livemode: bool | None = None,
        account: str = "",
        event_id: str = "evt_forged",
    ) -> tuple[bytes, str]:
        """Body and signature of an event that never happened; with a secret of ours, one that only Stripe could sign.

        Of another mode, of another endpoint, or of another time, as told. It is not listed."""
        event: dict[str, Any] = {"id": event_id, "object": "event", "created": self._clock.now_ms() // 1000}
        event |= {"livemode": self._livemode if livemode is None else livemode, "api_version": API_VERSION}
        raw = json.dumps(event | self._events.fields(kind, thing, account)).encode()
        return raw, self.sign(raw, secret, at_s=at_s)

    async def deliver(
        self, to_url: str, *, duplicate: float = 0, reorder: bool = False, drop: float = 0, rng: Random | None = None
    ) -> list[int]:
        """Tell all pending events; returns the statuses in the order of telling.

        `duplicate` and `drop` are shares of them (1 is all) that are told twice, or never. What is not answered 2xx
        stays pending."""
        dice = rng or Random(0)
        told: list[Object] = []
        for event in self.pending:
            if dice.random() >= drop:
                told += [event] * (2 if dice.random() < duplicate else 1)
        if reorder:
            dice.shuffle(told)
        self._events.undelivered.clear()
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            return [await self._tell(session, to_url, event) for event in told]

    async def _tell(self, session: aiohttp.ClientSession, to_url: str, event: Object) -> int:
        """The status; 0 if nobody is there."""
        raw, signature = self.signed(event)
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json; charset=utf-8"}
        status = 0
        try:
            async with session.post(to_url, data=raw, headers=headers) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            pass
        if not 200 <= status < 300 and event not in self._events.undelivered:
            self._events.undelivered.append(event)
        return status
