"""`gollem serve` when it cannot: one line that says what is wrong and what to do, status 1, no traceback."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gollem.ledger import open_ledger


def serve(folder: Path, *words: str) -> str:
    """The one line that is not of the log."""
    [line] = [line for line in lines(folder, *words) if " INFO " not in line]
    assert line.startswith("gollem: ")
    return line


def lines(folder: Path, *words: str, **variables: str) -> list[str]:
    """All that it says before it ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOLLEM_")}
    command = [
        sys.executable,
        "-m",
        "gollem",
        "serve",
        "--data",
        str(folder),
        "--port",
        "0",
        "--set",
        "server.metrics_port=0",
        *words,
    ]
    done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done.stderr
    return done.stderr.splitlines()


def test_each_line_is_json_where_the_log_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gollem", "serve", "--data", str(tmp_path), "--port", "0"]
    command += ["--set", "server.metrics_port=0", "--set", "observability.log=json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if "listening on 127.0.0.1:" in json.dumps(json.loads(line)):
                break
        process.terminate()
        assert all(isinstance(json.loads(line), dict) for line in process.stderr)
    assert process.returncode == 0


async def test_a_second_one_on_the_same_folder(tmp_path: Path) -> None:
    first = await open_ledger(f"sqlite://{tmp_path / 'ledger.db'}")
    line = await asyncio.to_thread(serve, tmp_path)
    await first.close()
    assert f"ledger.db is open for writing in process {os.getpid()}: stop that one first" in line
    assert "--data" in line


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = serve(tmp_path, "--port", str(port))
    assert f"127.0.0.1:{port}: the port is taken" in line
    assert "--port" in line


def test_a_metrics_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = serve(tmp_path, "--set", f"server.metrics_port={port}")
    assert f"server.metrics_port: cannot listen on 127.0.0.1:{port}" in line
    assert "--set server.metrics_port=N" in line


def garbage(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(b"neither one nor the other" * 400)

    return write


def damaged(folder: Path) -> None:
    """A ledger whose head is sound and whose pages are not."""

    async def make() -> None:
        await (await open_ledger(f"sqlite://{folder / 'ledger.db'}")).close()

    asyncio.run(make())
    content = bytearray((folder / "ledger.db").read_bytes())
    content[4096 + 100 :] = b"\x5a" * (len(content) - 4096 - 100)
    (folder / "ledger.db").write_bytes(content)


def nothing(_: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "words", "said", "advice"),
    [
        (garbage("ledger.db"), (), "ledger.db cannot be opened: file is not a database", "--ledger"),
        (damaged, (), "ledger.db is damaged", "restore a backup"),
        (garbage("keys.db"), (), "keys.db cannot be reached", "--data"),
        (garbage("grant.key"), (), "grant.key is no signing key", "restore a backup"),
        (nothing, ("--data", "/dev/null/x"), "/dev/null/x: Not a directory", "--data"),
        (nothing, ("--ledger", "postgres://x"), "'postgres://x' is no ledger", "sqlite:///"),
        (nothing, ("--set", "market.catalogue=/dev/null"), "catalogue: ", "market.catalogue=FILE"),
        (nothing, ("--set", "market.catalogue=/nowhere"), "/nowhere: cannot be read", "market.catalogue=FILE"),
        (nothing, ("--host", "256.0.0.1"), "cannot serve at 256.0.0.1:0", "--host"),
    ],
)
def test_what_is_wrong_with_its_files_or_settings(
    tmp_path: Path, spoil: Callable[[Path], None], words: tuple[str, ...], said: str, advice: str
) -> None:
    spoil(tmp_path)
    line = serve(tmp_path, *words)
    assert said in line
    assert advice in line


def test_a_misspelt_variable_is_told_once_and_its_value_never(tmp_path: Path) -> None:
    said = lines(tmp_path, "--host", "256.0.0.1", GOLLEM_STORGE_KEYS="very-secret", GOLLEM_API_KEY="no setting")
    warnings = [line for line in said if " WARNING " in line]
    assert len(warnings) == 1
    assert warnings[0].endswith(
        "GOLLEM_STORGE_KEYS is no setting and changes nothing; did you mean GOLLEM_STORAGE_KEYS?"
    )
    assert "very-secret" not in "".join(said)
