"""Amazon's DynamoDB Local as a real process: fetched once from Maven Central, in memory, on a free loopback port.

Missing Java or Maven fails loudly: a ledger that was not tried on DynamoDB must not look as if it had been.
"""

import fcntl
import os
import shutil
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

from gollem.ledger.dynamodb.ledger import create_dynamodb

POM = Path(__file__).with_name("dynamodb_local.pom.xml")
LIBRARIES = Path(__file__).parents[2] / ".cache" / "dynamodb-local"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_EC2_METADATA_DISABLED": "true"}
ENDPOINT = "GOLLEM_TEST_DYNAMODB"
_MAIN = "com.amazonaws.services.dynamodbv2.local.main.ServerRunner"
_FETCH_TIMEOUT_S = 300
_START_TIMEOUT_S = 60


@contextmanager
def dynamodb_local() -> Iterator[str]:
    """The endpoint of a server of one's own, ended with the block."""
    folder = fetch()
    port = _free_port()
    environment = os.environ | {"DDB_LOCAL_TELEMETRY": "0", "AWS_REGION": "eu-west-1"} | CREDENTIALS
    arguments = [_tool("java"), "-Xmx768m", "-XX:+UseSerialGC", f"-Djava.library.path={folder}", "-cp", f"{folder}/*"]
    arguments += [_MAIN, "-inMemory", "-port", str(port), "-disableTelemetry"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(arguments, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            endpoint = f"http://127.0.0.1:{port}"
            if not _answers(endpoint, process):
                log.seek(0)
                raise RuntimeError(f"DynamoDB Local did not start:\n{log.read().decode(errors='replace')[-4_000:]}")
            yield endpoint
        finally:
            _end(process)


async def make_table(folder: Path) -> str:
    """The URL of a ledger of the folder's own on the session's server (fixture `dynamodb_endpoint`), made if new.

    Without a stream, which costs DynamoDB Local two thirds of its speed."""
    table = "ledger-" + blake2b(str(folder).encode(), digest_size=8).hexdigest()
    url = f"dynamodb://{table}?endpoint={os.environ[ENDPOINT]}&region=eu-west-1"
    await create_dynamodb(url, stream=False)
    return url


def fetch() -> Path:
    """The folder with the server's libraries, filled by Maven the first time."""
    done = LIBRARIES / POM.name  # a copy, so that another version of it fetches again
    if done.exists() and done.read_bytes() == POM.read_bytes():
        return LIBRARIES
    LIBRARIES.parent.mkdir(exist_ok=True)
    with _alone(), tempfile.TemporaryDirectory(dir=LIBRARIES.parent) as scratch:
        if done.exists() and done.read_bytes() == POM.read_bytes():
            return LIBRARIES  # another process was quicker, and its server may run already
        folder = Path(scratch) / "fetched"
        arguments = [_tool("mvn"), "--quiet", "--batch-mode", "--file", str(POM)]
        arguments += ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        result = subprocess.run(arguments, capture_output=True, text=True, timeout=_FETCH_TIMEOUT_S, check=False)
        if result.returncode:
            raise RuntimeError(f"Maven could not fetch DynamoDB Local:\n{(result.stdout + result.stderr)[-4_000:]}")
        _name_for_the_loader(folder)
        shutil.copy(POM, folder / POM.name)
        shutil.rmtree(LIBRARIES, ignore_errors=True)
        folder.rename(LIBRARIES)
    return LIBRARIES


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time: a folder must not be replaced under a server."""
    with LIBRARIES.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _name_for_the_loader(folder: Path) -> None:
    """SQLite's native library is also looked for without its version."""
    for library in folder.glob("libsqlite4java-*-*.so"):
        shutil.copy(library, library.with_name(library.name.rsplit("-", 1)[0] + ".so"))


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is missing: apt-get install default-jre-headless maven, as .ci/run does")
    return found


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
