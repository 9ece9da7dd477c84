"""The benchmark of the ledger still runs, and says what it promises."""

import json
from pathlib import Path

import pytest

from benchmarks import bench_ledger
from benchmarks.ledger import postgres

KEYS = {"bench", "case", "value", "unit", "peer", "peer_value", "ratio", "target", "reached"}


def test_it_runs_small_and_without_a_peer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bench_ledger.main(["--quick", "--no-peer", "--folder", str(tmp_path)])
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]

    assert len(lines) == 13
    assert all(set(line) == KEYS and line["value"] > 0 for line in lines)
    assert {line["target"] for line in lines} == {None, 0.5, 0.9}
    assert "ledger" in captured.err
    assert list(tmp_path.iterdir()) == []


def test_missing_peer_is_told_with_its_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    bench_ledger.main(["--quick", "--folder", str(tmp_path)])
    captured = capsys.readouterr()

    assert len(captured.out.splitlines()) == 13
    assert "apt-get install postgresql" in captured.err
    assert list(tmp_path.iterdir()) == []
