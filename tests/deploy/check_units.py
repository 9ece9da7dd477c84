"""What systemd would forbid the exchange and its gateway, they do not need: every system call of a drill, and of a
gateway with TLS, is one that the unit allows, and no memory is made executable once it was written. `make deploy-check`
runs it; needs strace, and a kernel of 6.3.

systemd itself is not started: what else a unit says is what `systemd-analyze` has read (test_systemd.py).
"""

import asyncio
import os
import re
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.deploy.test_systemd import FOLDER
from tests.grpclib_guard.certificates import Certificates
from tests.servers.redis_server import free_port
from tests.until import until

ROOT = Path(__file__).parents[2]
# prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN), which stays in force for whatever is then run; MemoryDenyWriteExecute=
# does the same by a filter.
REFUSING = (
    "import ctypes, os, sys; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0; os.execv(sys.argv[1], sys.argv[1:])"
)

# SQLite gives its files back to their owner, only where it runs as root, as this drill may.
AS_ROOT = {"fchown"}


def allowed(unit: Path) -> set[str]:
    """Names of system calls, as the lines SystemCallFilter= add and take them away, in their order."""
    names: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.+)$", unit.read_text(), re.MULTILINE):
        found = expanded(line.removeprefix("~").split())
        names = names - found if line.startswith("~") else names | found
    return names


def expanded(groups: list[str]) -> set[str]:
    """All calls of these groups, beside those that are named themselves."""
    plain = {name for name in groups if not name.startswith("@")}
    command = ["systemd-analyze", "syscall-filter", "--no-pager", *(name for name in groups if name.startswith("@"))]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    words = {line.strip() for line in told.splitlines() if line.startswith("    ")}
    nested = [word for word in words if word.startswith("@")]
    names = {word for word in words if re.fullmatch(r"\w+", word)}
    return plain | names | (expanded(nested) if nested else set())


def traced(folder: Path, log: Path) -> Path:
    """A `gollem` whose system calls are written to files whose names begin with that of `log`."""
    wrapper = folder / "bin/gollem"
    wrapper.parent.mkdir()
    real = Path(sys.executable).parent / "gollem"
    wrapper.write_text(f'#!/bin/sh\nexec strace -D -f --seccomp-bpf -qq -o {log}.$$ -e trace=all {real} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def called(log: Path) -> set[str]:
    text = "\n".join(file.read_text(errors="replace") for file in log.parent.glob(f"{log.name}.*"))
    return set(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))


def test_every_system_call_is_allowed(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    wrapper = traced(tmp_path, log)
    drill = [sys.executable, ROOT / "deploy/drill.py", "--orders", "8", tmp_path / "drill"]
    environment = os.environ | {"DRILL_GOLLEM": str(wrapper)}
    done = subprocess.run(drill, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    used = called(log)
    assert {"epoll_wait", "fdatasync", "accept4"} & used
    assert used - allowed(FOLDER / "gollem-exchange.service") - AS_ROOT == set()


def test_no_memory_becomes_executable(tmp_path: Path) -> None:
    drill = [sys.executable, ROOT / "deploy/drill.py", "--orders", "8", tmp_path / "drill"]
    done = subprocess.run([sys.executable, "-c", REFUSING, *drill], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_every_system_call_of_the_gateway_is_allowed(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    await serve_gateway(tmp_path, [str(traced(tmp_path, log))], documents=20)
    used = called(log)
    assert {"epoll_wait", "accept4", "getrandom"} <= used
    assert used - allowed(FOLDER / "gollem-gateway.service") == set()


async def test_no_memory_of_the_gateway_becomes_executable(tmp_path: Path) -> None:
    """As often as it takes to have a script compiled, if it were to be."""
    gollem = str(Path(sys.executable).parent / "gollem")
    await serve_gateway(tmp_path, [sys.executable, "-c", REFUSING, gollem], documents=1_000)


async def serve_gateway(folder: Path, gollem: list[str], documents: int) -> None:
    """A gateway with TLS that serves this often, and ends with status 0 when it is told to."""
    authority, port = Certificates(folder), free_port()
    for name, content in zip(("private_key", "certificate"), authority.issue("localhost"), strict=True):
        (folder / name).write_bytes(content)
    files = ["--certificate", str(folder / "certificate"), "--private-key", str(folder / "private_key")]
    limits = ["--set", "gateway.burst=100000", "--set", "gateway.threads=1"]
    words = [*gollem, "gateway", "--listen", f"127.0.0.1:{port}", *files, *limits]
    process = await asyncio.create_subprocess_exec(*words)
    context = ssl.create_default_context(cadata=authority.authority.decode())
    try:
        await until(lambda: is_served(port, context), 120)
        assert all(is_served(port, context) for _ in range(documents))
        assert process.returncode is None
    finally:
        process.terminate()
        try:
            status = await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            raise
    assert status == 0


def is_served(port: int, context: ssl.SSLContext) -> bool:
    try:
        with urllib.request.urlopen(
            f"https://localhost:{port}/api/openapi.json", timeout=20, context=context
        ) as answer:
            return bool(answer.read())
    except OSError:
        return False
