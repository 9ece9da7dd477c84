"""From an API key to a principal, with a small cache of records that exist."""

from dataclasses import dataclass
from typing import Protocol

from gollem.clock import Clock
from gollem.errors import Unauthenticated
from gollem.identity.keys import proves, split_key
from gollem.identity.types import KeyRecord, Principal

CACHE_TTL_MS = 1_000
MAX_CACHED = 10_000
_NOT_VALID = "the API key is not valid"


class KeySource(Protocol):
    """Where records come from."""

    def find(self, key_id: str) -> KeyRecord | None: ...


@dataclass(frozen=True, slots=True)
class _Cached:
    record: KeyRecord
    until_ms: int


class Authenticator:
    """A revocation, whichever process made it, takes effect within `ttl_ms`. Keys that do not exist are never cached:
    each costs one indexed read and no memory."""

    def __init__(
        self, source: KeySource, clock: Clock, ttl_ms: int = CACHE_TTL_MS, max_cached: int = MAX_CACHED
    ) -> None:
        self._source = source
        self._clock = clock
        self._ttl_ms = ttl_ms
        self._max_cached = max_cached
        self._cache: dict[str, _Cached] = {}

    def authenticate(self, text: str) -> Principal:
        """Whoever holds this key. Raises Unauthenticated, in the same words whatever is wrong with the key, and
        WorldError if the keys cannot be reached."""
        parts = split_key(text)
        if parts is None:
            raise Unauthenticated("an API key is needed, such as glm_..." if not text else _NOT_VALID)
        key_id, secret = parts
        record = self._find(key_id)
        if record is None or not proves(secret, record) or record.revoked_at_ms is not None:
            raise Unauthenticated(_NOT_VALID)
        return Principal(record.account, record.role, record.key_id)

    def _find(self, key_id: str) -> KeyRecord | None:
        now_ms = self._clock.monotonic_ms()
        cached = self._cache.pop(key_id, None)
        if cached is None or cached.until_ms <= now_ms:
            record = self._source.find(key_id)
            if record is None:
                return None
            cached = _Cached(record, now_ms + self._ttl_ms)
        self._cache[key_id] = cached  # at the end: the front is what was not used for longest
        if len(self._cache) > self._max_cached:
            del self._cache[next(iter(self._cache))]
        return cached.record
