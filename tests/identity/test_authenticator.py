"""Authentication over the real store: the cache, revocation from another process, and what a stranger costs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gollem.errors import Unauthenticated
from gollem.identity import Authenticator, KeyStore, Principal, Role, open_key_store
from gollem.identity.keys import make_key
from gollem.identity.types import KeyRecord
from tests.fakes.clock import FakeClock


class CountingStore:
    """The store, and how often it is read."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self.reads = 0

    async def find(self, key_id: str) -> KeyRecord | None:
        self.reads += 1
        return await self._store.find(key_id)

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[CountingStore]:
    opened = await open_key_store(tmp_path, clock)
    yield CountingStore(opened)
    await opened.close()


@pytest.fixture
def authenticator(store: CountingStore, clock: FakeClock) -> Authenticator:
    return Authenticator(store, clock, ttl_ms=1_000, max_cached=3)  # type: ignore[arg-type]


async def test_key_proves_its_account_and_role(authenticator: Authenticator, store: KeyStore) -> None:
    made = await store.create("alice", Role.PROVIDER)

    assert await authenticator.authenticate(made.secret) == Principal("alice", Role.PROVIDER, made.key_id)


async def test_cached_key_costs_no_read_until_its_time(
    authenticator: Authenticator, store: CountingStore, clock: FakeClock
) -> None:
    made = await store.create("alice", Role.CONSUMER)
    for _ in range(5):
        await authenticator.authenticate(made.secret)
    assert store.reads == 1
    clock.advance_ms(999)
    await authenticator.authenticate(made.secret)
    assert store.reads == 1
    clock.advance_ms(1)
    await authenticator.authenticate(made.secret)
    assert store.reads == 2


async def test_revocation_elsewhere_takes_effect_within_the_time_to_live(
    tmp_path: Path, authenticator: Authenticator, store: CountingStore, clock: FakeClock
) -> None:
    made = await store.create("alice", Role.CONSUMER)
    await authenticator.authenticate(made.secret)
    elsewhere = await open_key_store(tmp_path, clock)
    assert await elsewhere.revoke(made.key_id)
    await elsewhere.close()
    for _ in range(9):  # use does not prolong it
        clock.advance_ms(100)
        await authenticator.authenticate(made.secret)
    clock.advance_ms(100)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(made.secret)


async def test_wall_clock_that_jumps_does_not_prolong_a_key(
    authenticator: Authenticator, store: CountingStore, clock: FakeClock
) -> None:
    made = await store.create("alice", Role.CONSUMER)
    await authenticator.authenticate(made.secret)
    await store.revoke(made.key_id)
    clock.jump_ms(-3_600_000)
    clock.advance_ms(1_000)
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(made.secret)


async def test_wrong_secret_of_a_cached_key_is_refused(authenticator: Authenticator, store: KeyStore) -> None:
    made = await store.create("alice", Role.OPERATOR)
    await authenticator.authenticate(made.secret)
    forged = f"glm_{made.key_id}_{make_key('alice', Role.OPERATOR, 0).secret.split('_', 2)[2]}"
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(forged)
    await authenticator.authenticate(made.secret)


async def test_unknown_keys_cost_one_read_each_and_no_memory(
    authenticator: Authenticator, store: CountingStore
) -> None:
    known = await store.create("alice", Role.CONSUMER)
    await authenticator.authenticate(known.secret)
    for _ in range(50):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(make_key("mallory", Role.OPERATOR, 0).secret)
    assert store.reads == 51
    assert list(authenticator._cache) == [known.key_id]
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate("not a key at all")
    assert store.reads == 51


async def test_cache_is_bounded_and_keeps_what_is_used(authenticator: Authenticator, store: CountingStore) -> None:
    keys = [await store.create(f"user-{number}", Role.CONSUMER) for number in range(10)]
    for key in keys:
        await authenticator.authenticate(keys[0].secret)
        await authenticator.authenticate(key.secret)

    assert len(authenticator._cache) == 3
    assert keys[0].key_id in authenticator._cache
    assert store.reads == 10


async def test_error_says_the_same_whatever_is_wrong_and_holds_no_secret(
    authenticator: Authenticator, store: CountingStore
) -> None:
    revoked = await store.create("alice", Role.CONSUMER)
    await store.revoke(revoked.key_id)
    stranger = make_key("alice", Role.CONSUMER, 0)
    messages = set()
    for text in (revoked.secret, stranger.secret, f"glm_{revoked.key_id}_{'a' * 43}", "rubbish"):
        with pytest.raises(Unauthenticated) as refused:
            await authenticator.authenticate(text)
        messages.add(str(refused.value))
        assert refused.value.figures == {}
    assert messages == {"the API key is not valid"}
