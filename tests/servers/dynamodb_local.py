"""Amazon's DynamoDB Local as a real process: fetched once from Maven Central, in memory, on a free loopback port.

Missing Java or Maven fails loudly: a ledger that was not tried on DynamoDB must not look as if it had been.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from gollem.cli.demo.dynamodb_local import CREDENTIALS, ENVIRONMENT, command
from gollem.ledger.dynamodb.client import Client
from gollem.ledger.dynamodb.ledger import parse_url
from gollem.ledger.dynamodb.table import make

__all__ = ["CREDENTIALS", "ENDPOINT", "DynamoDBLocal", "dynamodb_local", "dynamodb_server", "make_table"]
ENDPOINT = "GOLLEM_TEST_DYNAMODB"
_START_TIMEOUT_S = 60


class DynamoDBLocal:
    """One process. It may stand still: then it takes connections, and answers nothing."""

    def __init__(self, endpoint: str, process: subprocess.Popen[bytes]) -> None:
        self.endpoint = endpoint
        self._process = process

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def dynamodb_local() -> Iterator[str]:
    """The endpoint of a server of one's own, ended with the block."""
    with dynamodb_server() as server:
        yield server.endpoint


@contextmanager
def dynamodb_server() -> Iterator[DynamoDBLocal]:
    """The same, for whoever wants more of it than its endpoint."""
    port = _free_port()
    arguments = command(port)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(arguments, env=os.environ | ENVIRONMENT, stdout=log, stderr=log)
        try:
            endpoint = f"http://127.0.0.1:{port}"
            if not _answers(endpoint, process):
                log.seek(0)
                raise RuntimeError(f"DynamoDB Local did not start:\n{log.read().decode(errors='replace')[-4_000:]}")
            yield DynamoDBLocal(endpoint, process)
        finally:
            _end(process)


async def make_table(folder: Path, endpoint: str = "") -> str:
    """The URL of a ledger of the folder's own, made if new; without an endpoint on the session's server (fixture
    `dynamodb_endpoint`).

    Without a stream, which costs DynamoDB Local two thirds of its speed, and without what `create_dynamodb` looks at
    and protects afterwards: a table is there at once, and DynamoDB Local protects none."""
    table = "ledger-" + blake2b(str(folder).encode(), digest_size=8).hexdigest()
    url = f"dynamodb://{table}?endpoint={endpoint or os.environ[ENDPOINT]}&region=eu-west-1"
    client = Client(parse_url(url))
    await client.open()
    try:
        await make(client, stream=False)
    finally:
        await client.close()
    return url


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(endpoint: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether it answers at all, with whatever status, before it ends or time is up."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(endpoint, timeout=1)
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
