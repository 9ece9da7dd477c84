"""The key store's file: what is kept and what is not, several writers, damage."""

import asyncio
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gollem.errors import InvalidField, WorldError
from gollem.identity import KeyStore, Role, open_key_store
from tests.fakes.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[KeyStore]:
    opened = await open_key_store(tmp_path / "data", clock)
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
    for account in ("bob", "alice", "bob"):
        made.append((await store.create(account, Role.CONSUMER)).record)
        clock.advance_ms(1)

    assert await store.list() == [made[1], made[0], made[2]]
    assert await store.list("bob") == [made[0], made[2]]
    assert await store.list("nobody") == []


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


async def test_file_holds_no_secret_and_is_the_owners_alone(tmp_path: Path, store: KeyStore) -> None:
    made = await store.create("alice", Role.CONSUMER)
    secret = made.secret.split("_", 2)[2].encode()
    files = list((tmp_path / "data").iterdir())

    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    content = b"".join(file.read_bytes() for file in files)
    assert made.record.secret_sha256 in content
    assert secret not in content


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def another_writer(folder: Path, keys: int) -> asyncio.subprocess.Process:
    """A process that makes `keys` keys for bob."""
    code = (
        "import asyncio\nfrom pathlib import Path\nfrom gollem.identity import Role, open_key_store\n"
        "async def main():\n"
        f"    store = await open_key_store(Path({str(folder)!r}))\n"
        f"    for _ in range({keys}): await store.create('bob', Role.PROVIDER)\n"
        "asyncio.run(main())"
    )
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, env={"PYTHONPATH": ":".join(sys.path)})


async def test_several_processes_may_write(tmp_path: Path, store: KeyStore) -> None:
    children = [await another_writer(tmp_path / "data", 25) for _ in range(2)]
    for _ in range(25):
        await store.create("alice", Role.CONSUMER)
    assert [await child.wait() for child in children] == [0, 0]

    assert len(await store.list("bob")) == 50
    assert len(await store.list("alice")) == 25


async def test_no_write_ahead_log_is_ever_there(tmp_path: Path, store: KeyStore) -> None:
    """Several processes write, and SQLite before 3.51.3 can corrupt a log that two of them write."""
    await store.create("alice", Role.CONSUMER)
    assert names(tmp_path / "data") == ["keys.db"]
    with closing(sqlite3.connect(tmp_path / "data" / "keys.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_file_of_before_gives_up_its_log(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "keys.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE other (number INTEGER)")
    opened = await open_key_store(tmp_path)
    made = await opened.create("alice", Role.CONSUMER)
    assert await opened.find(made.key_id) == made.record
    assert names(tmp_path) == ["keys.db"]
    await opened.close()


async def test_reads_go_on_while_another_process_writes(tmp_path: Path, store: KeyStore) -> None:
    made = await store.create("alice", Role.CONSUMER)
    child = await another_writer(tmp_path / "data", 50)
    ended = asyncio.create_task(child.wait())
    while not ended.done():
        assert await store.find(made.key_id) == made.record
        await asyncio.sleep(0)
    assert await ended == 0


async def test_many_at_once_in_one_process(store: KeyStore) -> None:
    made = await asyncio.gather(*(store.create("alice", Role.CONSUMER) for _ in range(40)))

    assert {key.key_id for key in await store.list("alice")} == {key.key_id for key in made}


async def test_file_that_is_no_store_and_closed_store_are_world_errors(tmp_path: Path, store: KeyStore) -> None:
    (tmp_path / "keys.db").write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(WorldError, match=r"keys\.db cannot be reached"):
        await open_key_store(tmp_path)
    await store.close()
    await store.close()
    with pytest.raises(WorldError):
        await store.find("0" * 16)
