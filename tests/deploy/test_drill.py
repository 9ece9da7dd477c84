"""Backup and restore as an operator does them: deploy/backup.sh, deploy/restore.sh, and the drill that joins them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOLLEM_")}
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    command = [str(word) for word in words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a drill has left: `data`, restored, and the `copies` it was restored from."""
    folder = tmp_path_factory.mktemp("drill")
    done = run(sys.executable, ROOT / "deploy/drill.py", "--orders", "20", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all 20 orders acknowledged before the backup are there" in done.stdout
    assert done.stdout.count("the books balance") == 2
    return folder


def test_the_copies_are_for_their_owner_only(drilled: Path) -> None:
    copies = drilled / "copies"
    assert {file.name for file in copies.iterdir()} == {"ledger.db", "keys.db", "grant.key", "SHA256SUMS"}
    assert copies.stat().st_mode & 0o077 == 0
    assert [file.name for file in copies.iterdir() if file.stat().st_mode & 0o077] == []


def test_nothing_is_overwritten(drilled: Path) -> None:
    restored = run(ROOT / "deploy/restore.sh", drilled / "copies", drilled / "data")
    assert restored.returncode == 1
    assert "ledger.db is there already" in restored.stderr
    backed_up = run(ROOT / "deploy/backup.sh", drilled / "data", drilled / "copies")
    assert backed_up.returncode != 0
    assert not (drilled / "copies.unfinished").exists()


def test_a_copy_that_was_changed_is_not_put_back(drilled: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    subprocess.run(["cp", "-r", drilled / "copies", copies], check=True)
    with (copies / "keys.db").open("r+b") as file:
        file.write(b"other")
    done = run(ROOT / "deploy/restore.sh", copies, tmp_path / "data")
    assert done.returncode != 0
    assert "keys.db" in done.stdout + done.stderr
    assert not (tmp_path / "data").exists()


def test_what_is_no_ledger_is_not_backed_up(tmp_path: Path) -> None:
    done = run(ROOT / "deploy/backup.sh", tmp_path / "nowhere", tmp_path / "copies")
    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []
