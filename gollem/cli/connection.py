"""The line to an exchange: its address and key from options, calls, and the client's errors as `Failure`."""

import asyncio
import functools
import os
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from gollem.cli.advice import what_happened, what_to_do
from gollem.cli.failure import Failure, interrupted
from gollem.cli.output import Message
from gollem_client import ChannelPool, Exchange, GollemClient, GollemError, Timeouts

T = TypeVar("T")
Answer = TypeVar("Answer", bound=Message)
F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_SERVER = "127.0.0.1:50051"


@dataclass(frozen=True)
class Server:
    """Where an exchange is, and the key to show there."""

    address: str
    key: str = field(repr=False)


@asynccontextmanager
async def connect(server: Server) -> AsyncIterator[GollemClient]:
    """A client, for as long as the block lasts. What it raises leaves the block as Failure."""
    with own_failures():
        async with GollemClient(server.address, api_key=server.key) as client:
            yield client


@contextmanager
def own_failures() -> Iterator[None]:
    """What the client raises leaves the block as Failure: the server's own words, and advice by their reason."""
    try:
        yield
    except GollemError as error:
        raise Failure(what_happened(error), what_to_do(error)) from error


async def ask(server: Server, method: str, request: Message, answer_type: type[Answer]) -> Answer:
    """One call of any service ("AdminService/Audit"), from connecting to closing. Raises Failure."""
    pool = ChannelPool()
    try:
        with own_failures():
            return await Exchange(server.address, server.key, pool, Timeouts()).call(method, request, answer_type)
    finally:
        pool.close()


def call(server: Server, method: str, request: Message, answer_type: type[Answer]) -> Answer:
    """`ask`, for commands that do nothing else."""
    return run(ask(server, method, request, answer_type))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; Ctrl-C, or a signal that cancels the work, ends it in order, with exit status 130."""
    try:
        return asyncio.run(work)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise interrupted() from None


def new_id() -> str:
    """For whoever names no id of their own: the call cannot be repeated then."""
    return f"cli-{uuid.uuid4().hex}"


def server_options(command: F) -> F:
    """Adds --server and --key-file; the command gets them as one `server`."""

    @click.option("--server", "address", envvar="GOLLEM_SERVER", default=DEFAULT_SERVER, show_default=True)
    @click.option("--key-file", type=click.Path(path_type=Path), help="file of the API key; else GOLLEM_API_KEY has it")
    @functools.wraps(command)
    def with_server(*args: Any, address: str, key_file: Path | None, **others: Any) -> Any:
        return command(*args, server=Server(address, read_key(key_file)), **others)

    return cast(F, with_server)


def read_key(key_file: Path | None) -> str:
    """The key from the file or the environment: never from the command line, which others can see."""
    try:
        key = key_file.read_text("ascii") if key_file else os.environ.get("GOLLEM_API_KEY", "")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{key_file}: cannot be read as a key", "Name a file with nothing in it but the key.") from error
    if not key.strip():
        raise Failure("no API key", "Put it into GOLLEM_API_KEY, or name its file with --key-file.")
    return key.strip()
