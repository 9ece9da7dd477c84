"""The key store's file: what is kept and what is not, several writers, damage. `test_store_contract` has the rest."""

import asyncio
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gollem.errors import WorldError
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


async def test_file_that_is_no_store_and_closed_store_are_world_errors(tmp_path: Path, store: KeyStore) -> None:
    (tmp_path / "keys.db").write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(WorldError, match=r"keys\.db cannot be reached"):
        await open_key_store(tmp_path)
    await store.close()
    await store.close()
    with pytest.raises(WorldError):
        await store.find("0" * 16)
