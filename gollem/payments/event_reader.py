"""Which webhooks are believed: those that a secret of their endpoint signed just now, about money of our kind.

A header is `t=<seconds>,v1=<hex>[,v1=...]`; signed is `<seconds>.<body>`, by HMAC-SHA256 with the endpoint's secret.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from gollem.clock import Clock
from gollem.config import ConfigError
from gollem.errors import Forbidden, InvalidField, OtherMode, Unauthenticated
from gollem.payments import stripe_objects
from gollem.payments.types import Event

TOLERANCE_MS = 300_000

IsSigned = Callable[[bytes, str, str], bool]  # body, header, secret


def secrets(key: str, setting: str) -> tuple[str, ...]:
    """The signing secrets of a setting, separated by commas. Raises ConfigError, which names the setting."""
    found = tuple(secret.strip() for secret in setting.split(","))
    if not all(found):
        raise ConfigError(f"{key}: must name signing secrets, none of them empty: whoever knows one can forge events")
    return found


class EventReader:
    """Reads webhooks of two endpoints, the platform's own and the one of its connected accounts."""

    def __init__(
        self, platform: tuple[str, ...], connect: tuple[str, ...], livemode: bool, clock: Clock, is_signed: IsSigned
    ) -> None:
        assert platform, "no secret, no platform endpoint"
        assert connect, "no secret, no endpoint of connected accounts"
        assert all(platform + connect), "an empty secret is everybody's"
        self._platform = platform
        self._connect = connect
        self._livemode = livemode
        self._clock = clock
        self._is_signed = is_signed

    def read(self, raw: bytes, header: str) -> Event:
        """Raises Unauthenticated, Forbidden (of another mode, or sent to the other endpoint) or InvalidField."""
        is_platform = self._signed_by(self._platform, raw, header)
        is_connect = self._signed_by(self._connect, raw, header)
        if not (is_platform or is_connect):
            raise Unauthenticated("the webhook's signature is none of ours")
        if abs(self._clock.now_ms() - _signed_ms(header)) > TOLERANCE_MS:
            raise Unauthenticated("the webhook was not signed within five minutes of now")
        event = _parsed(raw)
        # The same secret may serve both endpoints, as it does while developing.
        if not (is_connect if event.connected_id else is_platform):
            raise Forbidden("the webhook is signed by the other endpoint's secret")
        if not isinstance(event.livemode, bool):
            raise InvalidField("livemode", "must be true or false")
        if event.livemode is not self._livemode:
            raise OtherMode("the webhook is of the other mode: live and test money never meet")
        return event

    def _signed_by(self, secrets: tuple[str, ...], raw: bytes, header: str) -> bool:
        return header.isascii() and any(self._is_signed(raw, header, secret) for secret in secrets)


def _signed_ms(header: str) -> int:
    """The moment that was signed: the first one named, as in the check of the signature."""
    return next(int(part[2:]) for part in header.split(",") if part.startswith("t=")) * 1_000


def _parsed(raw: bytes) -> Event:
    try:
        told: Any = json.loads(raw)
        if not isinstance(told, Mapping) or told.get("object") != "event":
            raise InvalidField("body", "must be an event")
        return stripe_objects.event(told)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidField("body", "must be an event, in JSON") from error
