"""What several nodes share, as children of the demo: the book in Redis, the ledger in DynamoDB Local."""

import asyncio
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gollem.cli.demo import dynamodb_local
from gollem.cli.demo.processes import Processes, answers, free_port
from gollem.cli.failure import Failure
from gollem.errors import GollemError

_START_TIMEOUT_S = 60.0
_AGAIN = "Install it, then run this again."


@dataclass(frozen=True)
class Shared:
    """Settings that every node has, and what its environment has to say. Alone, a node needs none."""

    ledger: str = ""
    book: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def options(self) -> list[str]:
        """Of `gollem serve`. This Redis has no password, which a command line would show."""
        pairs = (("--ledger", self.ledger), ("--book", self.book))
        return [word for option, value in pairs if value for word in (option, value)]


async def start_shared(processes: Processes, folder: Path, ledger: str) -> Shared:
    """Redis, and DynamoDB Local unless a `ledger` is named. Raises Failure, which says what to install."""
    redis_port = free_port()
    await processes.start("redis", _redis(redis_port, folder))
    book = f"redis://127.0.0.1:{redis_port}"
    await processes.wait_until("Redis", lambda: answers(redis_port), _START_TIMEOUT_S)
    if ledger:
        return Shared(ledger, book)
    url = await _start_dynamodb(processes)
    return Shared(url, book, dynamodb_local.CREDENTIALS)


def _redis(port: int, folder: Path) -> list[str]:
    server = shutil.which("redis-server")
    if server is None:
        raise Failure("redis-server is missing: apt-get install redis-server", _AGAIN)
    return [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]


async def _start_dynamodb(processes: Processes) -> str:
    """The URL of a new ledger there."""
    port = free_port()
    try:
        command = await asyncio.to_thread(dynamodb_local.command, port)
    except dynamodb_local.NotFetched as error:
        raise Failure(str(error), _AGAIN) from error
    await processes.start("dynamodb", command, dynamodb_local.ENVIRONMENT)
    await processes.wait_until("DynamoDB Local", lambda: answers(port), _START_TIMEOUT_S)
    url = f"dynamodb://gollem-demo?endpoint=http://127.0.0.1:{port}&region=eu-west-1"
    await _create(url)
    return url


async def _create(url: str) -> None:
    try:
        from gollem.ledger.dynamodb.ledger import create_dynamodb
    except ImportError:
        raise Failure("several nodes need more packages: pip install 'gollem[dynamodb,redis]'", _AGAIN) from None
    os.environ.update(dynamodb_local.CREDENTIALS)  # the vendor's client looks there
    try:
        await create_dynamodb(url, stream=False)
    except GollemError as error:
        raise Failure(error.message) from error
