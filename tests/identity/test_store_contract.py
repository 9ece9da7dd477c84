"""What holds of every key store: in a folder, and in a table that several machines share."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gollem.errors import InvalidField, WorldError
from gollem.identity import KeyStore, Role, open_key_store
from gollem.identity.keys import make_key
from tests.fakes.clock import FakeClock
from tests.identity.tables import make_keys_table


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["sqlite", "dynamodb"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return ""
    return await make_keys_table(request.getfixturevalue("dynamodb_endpoint"), tmp_path)


@pytest.fixture
async def store(url: str, tmp_path: Path, clock: FakeClock) -> AsyncIterator[KeyStore]:
    opened = await open_key_store(tmp_path, clock, url)
    yield opened
    await opened.close()


async def test_created_key_is_found_as_it_was_made(store: KeyStore, clock: FakeClock) -> None:
    made = await store.create("alice", Role.CONSUMER)

    assert await store.find(made.key_id) == made.record
    assert made.record.created_at_ms == clock.now_ms()
    assert await store.find("0" * 16) is None


async def test_bad_account_is_refused(store: KeyStore) -> None:
    with pytest.raises(InvalidField):
        await store.create("a b", Role.CONSUMER)
    assert await store.list() == []


async def test_list_is_by_account_and_age(store: KeyStore, clock: FakeClock) -> None:
    made = []
    for account in ("bob", "alice", "bob", "bob-2", "bo"):
        made.append((await store.create(account, Role.CONSUMER)).record)
        clock.advance_ms(1)

    assert await store.list() == [made[1], made[4], made[0], made[2], made[3]]
    assert await store.list("bob") == [made[0], made[2]]
    assert await store.list("nobody") == []
    assert await store.list(after=made[4]) == [made[0], made[2], made[3]]
    assert await store.list("bob", after=made[0]) == [made[2]]
    assert await store.list(after=made[3]) == []


async def test_revocation_is_once_and_keeps_its_time(store: KeyStore, clock: FakeClock) -> None:
    made = await store.create("alice", Role.CONSUMER)
    revoked_at_ms = clock.now_ms()
    assert await store.revoke(made.key_id)
    clock.advance_ms(5)
    assert not await store.revoke(made.key_id)
    assert not await store.revoke("0" * 16)

    found = await store.find(made.key_id)
    assert found is not None
    assert (found.revoked, found.revoked_at_ms) == (True, revoked_at_ms)
    assert await store.list("alice") == [found]


async def test_a_key_of_another_store_is_taken_over_and_so_is_its_revocation(store: KeyStore, clock: FakeClock) -> None:
    record = make_key("alice", Role.PROVIDER, clock.now_ms()).record
    assert await store.adopt(record)
    assert not await store.adopt(record)
    assert await store.find(record.key_id) == record
    revoked = replace(record, revoked_at_ms=clock.now_ms() + 7)
    assert await store.adopt(revoked)
    assert not await store.adopt(record), "what is revoked stays so"
    assert not await store.adopt(replace(record, revoked_at_ms=1))
    assert await store.find(record.key_id) == revoked
    other = replace(make_key("bob", Role.CONSUMER, clock.now_ms()).record, revoked_at_ms=9)
    assert await store.adopt(other)
    assert await store.list() == [revoked, other]


async def test_another_opening_sees_the_same(store: KeyStore, url: str, tmp_path: Path) -> None:
    made = await store.create("alice", Role.PROVIDER)
    other = await open_key_store(tmp_path, url=url)
    assert await other.find(made.key_id) == made.record
    assert await other.revoke(made.key_id)
    found = await store.find(made.key_id)
    assert found is not None
    assert found.revoked
    await other.close()


async def test_many_at_once_in_one_process(store: KeyStore) -> None:
    made = await asyncio.gather(*(store.create("alice", Role.CONSUMER) for _ in range(40)))

    assert {key.key_id for key in await store.list("alice")} == {key.key_id for key in made}


async def test_closing_twice_does_not_matter_and_then_nothing_is_found(store: KeyStore) -> None:
    await store.close()
    await store.close()
    with pytest.raises(WorldError):
        await store.find("0" * 16)
