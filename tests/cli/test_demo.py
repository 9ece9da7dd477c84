"""`gollem demo` as a newcomer runs it, with the real model; and that it leaves nothing behind."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

KEYS = [
    "text", "provider_id", "front_size", "prompt_tokens", "completion_tokens", "ttft_ms",
    "held", "charged", "refunded", "provider_share", "fee", "audit_ok",
]  # fmt: skip


def test_the_demo_shows_it_all_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gollem", "demo"]
    environment = {"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    figures = json.loads(done.stdout)
    assert list(figures) == KEYS
    assert figures["text"].strip() in " ".join(done.stderr.split()) or figures["text"].strip() in done.stderr
    money = {name: Decimal(figures[name]) for name in ("held", "charged", "refunded", "provider_share", "fee")}
    assert money["held"] == money["charged"] + money["refunded"]
    assert money["charged"] == money["provider_share"] + money["fee"] > 0
    assert figures["audit_ok"] is True
    assert figures["front_size"] == 2
    assert list(tmp_path.iterdir()) == []
