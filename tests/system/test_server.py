"""Servers that tests and benchmarks start find ports of their own, whatever the environment says."""

import socket
from pathlib import Path

import pytest

from tests.system.server import start_server


async def test_a_server_takes_a_free_port_for_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a benchmark of two nodes, of which the first has the usual port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("GOLLEM_SERVER_METRICS_PORT", str(taken.getsockname()[1]))
        process, port = await start_server("--data", str(tmp_path), "--port", "0")
    process.kill()
    await process.communicate()
    assert port
