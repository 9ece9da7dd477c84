"""The peer: PostgreSQL from Debian's package, a private cluster in a temporary folder, reached through its socket.

As durable as the ledger (fsync and synchronous_commit on), with prepared statements, one connection a caller.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.ledger.workload import (
    FEE_ATOMS,
    FINGERPRINT,
    FUNDS_ATOMS,
    NOW_MS,
    USAGE_ATOMS,
    USERS,
    Client,
    Run,
    run_loop,
    trade,
)
from gollem.ledger import Hold

MISSING = "PostgreSQL is not installed: apt-get install postgresql, then run this again (or leave it out: --no-peer)"
_SETTINGS = {
    "listen_addresses": "''",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
}
DEBIAN = Path("/usr/lib/postgresql")
_SCHEMA = Path(__file__).with_name("postgres.sql")


class PeerMissing(Exception):
    """The peer cannot be measured here; the message says what to install."""


@contextmanager
def cluster(folder: str | None = None) -> Iterator[str]:
    """The folder of the socket of a running server with the schema, gone afterwards. Raises PeerMissing."""
    _programs()
    home = Path(tempfile.mkdtemp(prefix="peer-", dir=folder))
    try:
        if os.geteuid() == 0:
            shutil.chown(home, _account())
        run_program("initdb", "-D", f"{home}/data", "-A", "trust", "-U", "bench", "--no-sync")
        options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items()) + f" -k {home}"
        control = ("pg_ctl", "-D", f"{home}/data", "-l", f"{home}/log", "-w")
        run_program(*control, "-o", options, "start")
        try:
            run_program("psql", *_url(home), "-q", "-v", "ON_ERROR_STOP=1", "-c", _SCHEMA.read_text())
            yield str(home)
        finally:
            run_program(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home)


def _programs() -> Path:
    """Where Debian keeps the server's programs: the newest version's, or wherever the path says."""
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    program = str(found[-1]) if found else shutil.which("initdb")
    if program is None:
        raise PeerMissing(MISSING)
    return Path(program).parent


def _account() -> str:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError as error:
        raise PeerMissing(f"{MISSING}; there is no user postgres, and its server does not run as root") from error


def run_program(name: str, *arguments: str) -> str:
    """Run one of the server's programs, as its own user where we are root; what it says. Raises PeerMissing."""
    prefix = ["runuser", "-u", _account(), "--"] if os.geteuid() == 0 else []
    try:
        # Into files: the server keeps the descriptors that it is started with.
        with tempfile.TemporaryFile("w+") as said:
            subprocess.run(
                [*prefix, str(_programs() / name), *arguments], check=True, stdout=said, stderr=said, cwd="/"
            )
            said.seek(0)
            return said.read()
    except subprocess.CalledProcessError as error:
        raise PeerMissing(f"PostgreSQL does not run here: {name} ended with status {error.returncode}") from error


def _url(home: Path) -> list[str]:
    return ["-h", str(home), "-U", "bench", "-d", "postgres"]


# --- clients ----------------------------------------------------------------------------------------------------------

_OPEN = "SELECT open_hold({0}, {1}, {2}, {3}, {4}, {5}, {6}, {7})"
_SETTLE = "SELECT settle_hold({0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8})"


class ProcedureClient:
    """Calls the two procedures through either library: `opening` and `settling` run one prepared statement."""

    def __init__(self, opening: Callable[..., Any], settling: Callable[..., Any]) -> None:
        self._opening = opening
        self._settling = settling

    async def hold(self, hold: Hold) -> None:
        figures = (hold.amount_atoms, hold.opened_at_ms, hold.expires_at_ms)
        row = (hold.order_id, hold.user, hold.provider, *figures, hold.terms, FINGERPRINT)
        assert await self._opening(*row)

    async def settle(self, hold: Hold) -> None:
        shard = int(hold.order_id[:4], 16) % 16
        figures = (hold.amount_atoms, USAGE_ATOMS, FEE_ATOMS, NOW_MS)
        assert await self._settling(hold.order_id, hold.user, hold.provider, *figures, FINGERPRINT, shard)


async def _asyncpg_client(socket: str, stack: AsyncExitStack) -> Client:
    import asyncpg

    connection = await asyncpg.connect(host=socket, user="bench", database="postgres")
    stack.push_async_callback(connection.close)
    places = [f"${number}" for number in range(1, 10)]
    opening, settling = [await connection.prepare(text.format(*places)) for text in (_OPEN, _SETTLE)]
    return ProcedureClient(opening.fetchval, settling.fetchval)


async def _psycopg_client(socket: str, stack: AsyncExitStack) -> Client:
    import psycopg

    connection = await psycopg.AsyncConnection.connect(f"host={socket} user=bench dbname=postgres", autocommit=True)
    await stack.enter_async_context(connection)
    types = ("text", "text", "text", "int8", "int8", "int8")
    opening = _OPEN.format(*(f"%s::{name}" for name in (*types, "text", "text")))
    settling = _SETTLE.format(*(f"%s::{name}" for name in (*types, "int8", "text", "int4")))

    def calling(text: str) -> Callable[..., Coroutine[Any, Any, object]]:
        async def call(*row: object) -> object:
            cursor = await connection.execute(text, row, prepare=True)
            found = await cursor.fetchone()
            return found and found[0]

        return call

    return ProcedureClient(calling(opening), calling(settling))


CLIENTS = {"asyncpg": _asyncpg_client, "psycopg": _psycopg_client}


def run_peer(socket: str, library: str, callers: int, seconds: float) -> Run:
    """The workload through one library, on empty tables. Raises PeerMissing."""

    async def run() -> Run:
        async with AsyncExitStack() as stack:
            await _fund(socket)
            clients = [await CLIENTS[library](socket, stack) for _ in range(callers)]
            return await trade(clients, seconds)

    try:
        return run_loop(run())
    except ImportError as error:
        raise PeerMissing(f"{library} is not installed: pip install {library}") from error


async def _fund(socket: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(host=socket, user="bench", database="postgres")
    accounts = [(f"U:user-{user}", FUNDS_ATOMS) for user in range(USERS)]
    accounts += [(f"PM:provider-{number // 4}:20270115:{number % 4}", 0) for number in range(32)]
    accounts += [(f"R:fee:{shard}", 0) for shard in range(16)]
    await connection.execute("TRUNCATE entry, leg, hold, account RESTART IDENTITY; CHECKPOINT")
    await connection.executemany("INSERT INTO account VALUES ($1, $2)", accounts)
    await asyncio.wait_for(connection.close(), 10)
