"""From an API key to a principal, with a small cache of records that exist."""

from dataclasses import dataclass

from gollem.clock import Clock
from gollem.errors import Unauthenticated
from gollem.identity.interface import KeyStore
from gollem.identity.keys import proves, split_key
from gollem.identity.types import KeyRecord, Principal

CACHE_TTL_MS = 1_000
MAX_CACHED = 10_000
_NOT_VALID = "the API key is not valid"


@dataclass(frozen=True, slots=True)
class _Cached:
    record: KeyRecord
    until_ms: int


class Authenticator:
    """A revocation, whichever process made it, takes effect within `ttl_ms`. Keys that do not exist are never cached:
    each costs one indexed read and no memory."""

    def __init__(self, store: KeyStore, clock: Clock, ttl_ms: int = CACHE_TTL_MS, max_cached: int = MAX_CACHED) -> None:
        self._store = store
        self._clock = clock
        self._ttl_ms = ttl_ms
        self._max_cached = max_cached
        self._cache: dict[str, _Cached] = {}

    async def authenticate(self, text: str) -> Principal:
        """Whoever holds this key. Raises Unauthenticated, in the same words whatever is wrong with the key, and
        WorldError if the keys cannot be reached."""
        parts = split_key(text)
        if parts is None:
            raise Unauthenticated("an API key is needed, such as glm_..." if not text else _NOT_VALID)
        key_id, secret = parts
        record = await self._find(key_id)
        if record is None or not proves(secret, record) or record.revoked:
            raise Unauthenticated(_NOT_VALID)
        return Principal(record.account, record.role, record.key_id)

    async def confirm(self, principal: Principal) -> None:
        """Raises Unauthenticated if the key has been revoked since it was presented."""
        record = await self._find(principal.key_id)
        if record is None or record.revoked:
            raise Unauthenticated(_NOT_VALID)

    async def _find(self, key_id: str) -> KeyRecord | None:
        # Taken before the read: the record is at least as new as the moment it is kept from.
        now_ms = self._clock.monotonic_ms()
        cached = self._cache.pop(key_id, None)
        if cached is None or cached.until_ms <= now_ms:
            record = await self._store.find(key_id)
            if record is None:
                return None
            cached = _Cached(record, now_ms + self._ttl_ms)
        self._cache[key_id] = cached  # last: the first is what was not used for longest
        if len(self._cache) > self._max_cached:
            del self._cache[next(iter(self._cache))]
        return cached.record
