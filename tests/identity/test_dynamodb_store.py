"""The table of keys: what it holds, answers that are lost, and what is said when it cannot be had."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gollem.errors import WorldError
from gollem.identity import Authenticator, Role, dynamodb_store, make_key_table, open_key_store
from gollem.identity.dynamodb_store import DynamoDBKeyStore
from gollem.identity.dynamodb_table import Item, Table, parse
from tests.fakes.clock import FakeClock
from tests.identity.tables import make_keys_table
from tests.until import until


class LossyTable(Table):
    """Every answer to a change is lost once, and the vendor's client asks again."""

    async def change(self, operation: str, **arguments: Any) -> bool:
        await super().change(operation, **arguments)
        return await super().change(operation, **arguments)


class SlowTable(Table):
    """Counts calls, and answers none before it is let."""

    calls = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.let = asyncio.Event()
        self.let.set()

    async def call(self, operation: str, **arguments: Any) -> Item:
        self.calls += 1
        await self.let.wait()
        return await super().call(operation, **arguments)


@pytest.fixture
async def url(dynamodb_endpoint: str, tmp_path: Path) -> str:
    return await make_keys_table(dynamodb_endpoint, tmp_path)


@pytest.fixture
async def table(url: str) -> AsyncIterator[SlowTable]:
    opened = SlowTable(parse(url))
    await opened.open()
    yield opened
    await opened.close()


async def test_a_key_whose_making_was_not_answered_is_made_once(url: str) -> None:
    table = LossyTable(parse(url))
    await table.open()
    store = DynamoDBKeyStore(table, FakeClock())
    made = await store.create("alice", Role.CONSUMER)
    assert await store.find(made.key_id) == made.record
    assert not await store.revoke(made.key_id), "as is said of it"
    found = await store.find(made.key_id)
    assert found is not None
    assert found.revoked
    await store.close()


async def test_another_key_of_the_same_id_is_not_overwritten(table: SlowTable, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DynamoDBKeyStore(table, FakeClock())
    make_key = dynamodb_store.make_key
    monkeypatch.setattr(dynamodb_store, "make_key", lambda *of: make_key(*of, random_hex=lambda size: "ab" * size))
    first = await store.create("alice", Role.CONSUMER)
    with pytest.raises(WorldError, match="make another"):
        await store.create("mallory", Role.OPERATOR)
    assert await store.find(first.key_id) == first.record


async def test_the_table_holds_no_secret(table: SlowTable) -> None:
    made = await DynamoDBKeyStore(table, FakeClock()).create("alice", Role.CONSUMER)
    (item,) = (await table.call("scan"))["Items"]
    assert bytes(item["secret_sha256"]["B"]) == made.record.secret_sha256
    assert made.secret.split("_", 2)[2] not in repr(item)


async def test_a_long_list_comes_in_pages(table: SlowTable, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DynamoDBKeyStore(table, FakeClock())
    for _ in range(5):
        await store.create("alice", Role.CONSUMER)
    whole = await store.list()

    async def paged(operation: str, **arguments: Any) -> Item:
        return await Table.call(table, operation, **(arguments | {"Limit": min(2, arguments["Limit"])}))

    monkeypatch.setattr(table, "call", paged)
    assert await store.list() == whole
    monkeypatch.setattr(dynamodb_store, "MAX_LISTED", 3)
    assert await store.list() == whole[:3]


async def test_calls_with_one_key_share_one_read(table: SlowTable) -> None:
    clock = FakeClock()
    store = DynamoDBKeyStore(table, clock)
    authenticator = Authenticator(store, clock)
    made = await store.create("alice", Role.CONSUMER)
    for _ in range(3):
        found = await asyncio.gather(*(authenticator.authenticate(made.secret) for _ in range(50)))
        assert len(found) == 50
    assert table.calls == 1
    clock.advance_ms(1_000)
    await asyncio.gather(*(authenticator.authenticate(made.secret) for _ in range(50)))
    assert table.calls == 2


async def test_strangers_do_not_hold_up_those_who_are_known(table: SlowTable) -> None:
    clock = FakeClock()
    store = DynamoDBKeyStore(table, clock)
    authenticator = Authenticator(store, clock)
    made = await store.create("alice", Role.CONSUMER)
    await authenticator.authenticate(made.secret)
    table.let.clear()
    made_up = [f"glm_{number:016x}_{'a' * 43}" for number in range(200)]
    strangers = [asyncio.create_task(authenticator.authenticate(text)) for text in made_up]
    await until(lambda: table.calls == 33)
    clock.advance_ms(1_000)
    known = asyncio.create_task(authenticator.authenticate(made.secret))
    await until(lambda: table.calls > 33)
    assert table.calls == 34
    table.let.set()
    assert (await known).account == "alice"
    assert {type(error).__name__ for error in await asyncio.gather(*strangers, return_exceptions=True)} == {
        "Unauthenticated"
    }


async def test_a_read_that_was_begun_too_long_ago_is_not_waited_for(table: SlowTable) -> None:
    """It may have seen the key before it was revoked."""
    clock = FakeClock()
    store = DynamoDBKeyStore(table, clock)
    authenticator = Authenticator(store, clock)
    made = await store.create("alice", Role.CONSUMER)
    table.let.clear()
    early = asyncio.create_task(authenticator.authenticate(made.secret))
    await asyncio.sleep(0)
    clock.advance_ms(1_000)
    late = asyncio.create_task(authenticator.authenticate(made.secret))
    await until(lambda: table.calls == 2)
    table.let.set()
    await asyncio.gather(early, late)


async def test_whoever_goes_away_takes_nothing_from_the_others(table: SlowTable) -> None:
    clock = FakeClock()
    store = DynamoDBKeyStore(table, clock)
    authenticator = Authenticator(store, clock)
    made = await store.create("alice", Role.CONSUMER)
    table.let.clear()
    first, second = (asyncio.create_task(authenticator.authenticate(made.secret)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    table.let.set()
    assert (await second).account == "alice"
    assert table.calls == 1


async def test_making_the_table_twice_changes_nothing(url: str, tmp_path: Path) -> None:
    store = await open_key_store(tmp_path, url=url)
    made = await store.create("alice", Role.CONSUMER)
    assert (await make_key_table(url))[0].endswith("was there already")
    assert await store.find(made.key_id) == made.record
    await store.close()


async def test_what_is_wrong_is_said(url: str, tmp_path: Path) -> None:
    with pytest.raises(WorldError, match=r"is not there: `gollem keys table` makes it"):
        await open_key_store(tmp_path, url=url.replace("//keys-", "//no-keys-"))
    with pytest.raises(WorldError, match=r"storage\.keys: 'redis://here' is no table"):
        await open_key_store(tmp_path, url="redis://here")
    with pytest.raises(WorldError, match="cannot be reached"):
        await open_key_store(tmp_path, url="dynamodb://keys?endpoint=http://127.0.0.1:1&region=eu-west-1")
