"""Amazon's DynamoDB Local: fetched once from Maven Central, and the command that serves it in memory."""

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POM = Path(__file__).with_name("dynamodb_local.pom.xml")
# It wants credentials, and takes any.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_EC2_METADATA_DISABLED": "true"}
ENVIRONMENT = CREDENTIALS | {"DDB_LOCAL_TELEMETRY": "0", "AWS_REGION": "eu-west-1"}
PACKAGES = "default-jre-headless maven"
_MAIN = "com.amazonaws.services.dynamodbv2.local.main.ServerRunner"
_FETCH_TIMEOUT_S = 300
_CHECKOUT = Path(__file__).parents[3]


class NotFetched(Exception):
    """A tool is missing, or Maven failed; the text says which and what to do."""


def command(port: int) -> list[str]:
    """Raises NotFetched. Fetches the server the first time, which takes a while. Wants ENVIRONMENT."""
    folder = fetch()
    # Nothing here lives long enough for the second compiler: without it a server takes half as much of the processor.
    options = ["-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    options += [f"-Djava.library.path={folder}", "-cp", f"{folder}/*"]
    return [tool("java"), *options, _MAIN, "-inMemory", "-port", str(port), "-disableTelemetry"]


def libraries() -> Path:
    """The folder of the server: in a checkout beside what else is built, otherwise among the user's caches."""
    is_checkout = (_CHECKOUT / "pyproject.toml").exists()
    return (_CHECKOUT / ".cache" if is_checkout else Path.home() / ".cache" / "gollem") / "dynamodb-local"


def fetch() -> Path:
    """The folder with the server's libraries, filled by Maven the first time. Raises NotFetched."""
    place = libraries()
    if _is_there(place):
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with _alone(place), tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        if _is_there(place):
            return place  # another process was quicker, and its server may run already
        folder = Path(scratch) / "fetched"
        _copy_dependencies(folder)
        _name_for_the_loader(folder)
        shutil.copy(POM, folder / POM.name)
        shutil.rmtree(place, ignore_errors=True)
        folder.rename(place)
    return place


def tool(name: str) -> str:
    """Where the program is. Raises NotFetched."""
    found = shutil.which(name)
    if found is None:
        raise NotFetched(f"{name} is missing: apt-get install {PACKAGES}")
    return found


def _is_there(place: Path) -> bool:
    """With a copy of the list that it was fetched by, so that another version of it fetches again."""
    done = place / POM.name
    return done.exists() and done.read_bytes() == POM.read_bytes()


def _copy_dependencies(folder: Path) -> None:
    arguments = [tool("mvn"), "--quiet", "--batch-mode", "--file", str(POM)]
    arguments += ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=_FETCH_TIMEOUT_S, check=False)  # noqa: S603
    if result.returncode:
        raise NotFetched(f"Maven could not fetch DynamoDB Local:\n{(result.stdout + result.stderr)[-4_000:]}")


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One process at a time: a folder must not be replaced under a server."""
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _name_for_the_loader(folder: Path) -> None:
    """SQLite's native library is also looked for without its version."""
    for library in folder.glob("libsqlite4java-*-*.so"):
        shutil.copy(library, library.with_name(library.name.rsplit("-", 1)[0] + ".so"))
