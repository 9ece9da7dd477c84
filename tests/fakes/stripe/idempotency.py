"""The idempotency keys: what was answered under each, for a day."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gollem.clock import Clock
from tests.fakes.stripe.errors import invalid, key_in_use, key_reused

KEPT_MS = 24 * 3_600_000
_MAX_KEY_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it goes over the wire."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(slots=True)
class _Used:
    asked: str
    at_ms: int
    reply: Reply | None = None  # None while it is in the works


class IdempotencyKeys:
    """Of every account. After a day a key is forgotten, and the same key does the same thing again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used: dict[tuple[str, str], _Used] = {}

    def is_known(self, account: str, key: str) -> bool:
        self._prune()
        return (account, key) in self._used

    def begin(self, account: str, key: str, path: str, params: Mapping[str, Any]) -> Reply | None:
        """What was answered before; None if it is to be done now."""
        if len(key) > _MAX_KEY_CHARACTERS:
            raise invalid("Idempotency key is too long", "idempotency_key")
        self._prune()
        asked = json.dumps([path, params], sort_keys=True)
        used = self._used.get((account, key))
        if used is None:
            self._used[account, key] = _Used(asked, self._clock.now_ms())
            return None
        if used.asked != asked:
            raise key_reused(key)
        if used.reply is None:
            raise key_in_use(key)
        return used.reply

    def keep(self, account: str, key: str, reply: Reply) -> None:
        self._used[account, key].reply = reply

    def forget(self, account: str, key: str) -> None:
        """What was never begun is not kept."""
        del self._used[account, key]

    def _prune(self) -> None:
        old_ms = self._clock.now_ms() - KEPT_MS
        # One in the works stays, however long it takes: its end is written to it.
        self._used = {name: used for name, used in self._used.items() if used.at_ms > old_ms or used.reply is None}
