"""From an API key to a principal, with a small cache of records that exist."""

import asyncio
from dataclasses import dataclass

from gollem.clock import Clock
from gollem.errors import Unauthenticated
from gollem.identity.interface import KeyStore
from gollem.identity.keys import proves, split_key
from gollem.identity.types import KeyRecord, Principal

CACHE_TTL_MS = 1_000
MAX_CACHED = 10_000
MAX_STRANGERS = 32  # keys not known here that are read at once: a flood of made up ones must not hold up the known
_NOT_VALID = "the API key is not valid"


@dataclass(frozen=True, slots=True)
class _Cached:
    record: KeyRecord
    until_ms: int


@dataclass(frozen=True, slots=True)
class _Reading:
    """One read of the store, for all who ask meanwhile."""

    record: "asyncio.Task[KeyRecord | None]"
    began_ms: int


class Authenticator:
    """A revocation, whichever process made it, takes effect within `ttl_ms`. A key in use costs one read in that time,
    however many calls it makes. Keys that do not exist are never cached: each costs one indexed read and no memory."""

    def __init__(self, store: KeyStore, clock: Clock, ttl_ms: int = CACHE_TTL_MS, max_cached: int = MAX_CACHED) -> None:
        self._store = store
        self._clock = clock
        self._ttl_ms = ttl_ms
        self._max_cached = max_cached
        self._cache: dict[str, _Cached] = {}
        self._readings: dict[str, _Reading] = {}  # bounded by the calls under way
        self._strangers = asyncio.Semaphore(MAX_STRANGERS)

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
        now_ms = self._clock.monotonic_ms()
        cached = self._cache.pop(key_id, None)
        if cached is not None and now_ms < cached.until_ms:
            self._cache[key_id] = cached  # last: the first is what was not used for longest
            return cached.record
        reading = self._readings.get(key_id)
        if reading is None or now_ms - reading.began_ms >= self._ttl_ms:
            reading = self._begin_reading(key_id, now_ms, is_stranger=cached is None)
        return await asyncio.shield(reading.record)  # who goes away must not take the answer from the others

    def _begin_reading(self, key_id: str, now_ms: int, is_stranger: bool) -> _Reading:
        reading = _Reading(asyncio.create_task(self._read(key_id, now_ms, is_stranger)), now_ms)
        self._readings[key_id] = reading

        def ended(task: "asyncio.Task[KeyRecord | None]") -> None:
            if self._readings.get(key_id) is reading:
                del self._readings[key_id]
            if not task.cancelled():
                task.exception()  # told to whoever still waits; nobody may

        reading.record.add_done_callback(ended)
        return reading

    async def _read(self, key_id: str, began_ms: int, is_stranger: bool) -> KeyRecord | None:
        if is_stranger:
            async with self._strangers:
                record = await self._store.find(key_id)
        else:
            record = await self._store.find(key_id)
        if record is not None:
            # By when the read began: the record is at least as new as that.
            self._cache.pop(key_id, None)
            self._cache[key_id] = _Cached(record, began_ms + self._ttl_ms)
            if len(self._cache) > self._max_cached:
                del self._cache[next(iter(self._cache))]
        return record
