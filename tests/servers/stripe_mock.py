"""Stripe's official mock as a real process: built once by Go, on a free loopback port.

It keeps nothing and checks everything: each request against Stripe's own OpenAPI. A missing Go fails loudly: calls that
were not checked must not look as if they had been.
"""

import os
import queue
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import IO

_MODULE = Path(__file__).with_name("stripe_mock_build")
_CACHE = Path(__file__).parents[2] / ".cache" / "stripe-mock"
_PACKAGE = "github.com/stripe/stripe-mock"
_BUILD_TIMEOUT_S = 300
_START_TIMEOUT_S = 30
_LISTENING = re.compile(r"Listening for HTTP at address: (127\.0\.0\.1:\d+)")


@contextmanager
def stripe_mock() -> Iterator[str]:
    """The URL of a mock of one's own, ended with the block."""
    command = [build(), "-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield f"http://{_address(process)}"
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def build() -> Path:
    """The program, built where this version of it is not there yet."""
    program = _CACHE / _version() / "stripe-mock"
    if program.exists():
        return program
    go = _tool("go")
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
        built = Path(scratch) / program.name
        command = [go, "build", "-mod=readonly", "-o", str(built), _PACKAGE]
        # Whatever the machine's settings, our checksums hold; where modules come from is left to it.
        environment = {**os.environ, "GOFLAGS": "", "GOWORK": "off"}
        done = subprocess.run(
            command, cwd=_MODULE, env=environment, timeout=_BUILD_TIMEOUT_S, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"`{' '.join(command)}` failed:\n{done.stderr[-4_000:]}")
        built.replace(program)  # whole or not at all, also when two test runs build at once
    return program


def _version() -> str:
    """Changes with every module that it is built of."""
    return blake2b(b"".join((_MODULE / name).read_bytes() for name in ("go.mod", "go.sum")), digest_size=6).hexdigest()


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is missing: apt-get install golang-go, as .ci/run does")
    return found


def _address(process: subprocess.Popen[str]) -> str:
    """Where it listens, as it says itself. A thread reads on, so that it never waits for us."""
    assert process.stdout is not None
    found: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(process.stdout, found), daemon=True).start()
    try:
        address = found.get(timeout=_START_TIMEOUT_S)
    except queue.Empty:
        address = ""
    if not address:
        raise RuntimeError("stripe-mock did not start")
    return address


def _read(output: IO[str], found: "queue.Queue[str]") -> None:
    for line in output:
        heard = _LISTENING.search(line)
        if heard:
            found.put(heard[1])
    found.put("")  # it has ended
