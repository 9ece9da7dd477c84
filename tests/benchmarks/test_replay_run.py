"""A short replay from end to end, as `make replay` runs it."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
KEYS = [
    "matched",
    "refused",
    "excluded_by",
    "p50_ms",
    "p99_ms",
    "held",
    "charged",
    "refunded",
    "fees",
    "audit_ok",
    "broken",
    "unsettled",
    "reported",
    "calls_per_s",
]


def replay(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.replay", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_every_credit_is_accounted_for() -> None:
    done = replay("--limit", "60", "--seconds", "2")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert list(figures) == KEYS
    assert figures["matched"] + figures["refused"] + figures["broken"] == 60
    assert figures["broken"] == figures["unsettled"] == 0
    assert 0 < figures["reported"] < figures["matched"]
    assert figures["calls_per_s"] > 0
    assert "at once, at most" in done.stderr
    assert figures["matched"] > 30
    assert Decimal(figures["held"]) == Decimal(figures["charged"]) + Decimal(figures["refunded"])
    assert Decimal(figures["refunded"]) > 0
    assert figures["audit_ok"] is True


def test_a_bad_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "asks.csv").write_text("model,provider,prompt_usd_per_mtok,completion_usd_per_mtok\nm,p,-1,1\n")
    done = replay("--asks", str(tmp_path / "asks.csv"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"gollem: {tmp_path}/asks.csv:2: prompt_usd_per_mtok: '-1'")
    assert len(done.stderr.splitlines()) == 1
