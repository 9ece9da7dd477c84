"""`gollem demo` as a newcomer runs it, with the real model; that it leaves nothing behind, or all of it with --keep.

DEMO_NODES=3 in the environment tries the same with so many nodes, which takes a minute.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from decimal import Decimal
from pathlib import Path

KEYS = [
    "text", "provider_id", "front_size", "prompt_tokens", "completion_tokens", "ttft_ms",
    "held", "charged", "refunded", "provider_share", "fee", "audit_ok",
    "bought_usd", "paid_out_usd",
]  # fmt: skip
NODES = int(os.environ.get("DEMO_NODES", "1"))
COMMAND = [sys.executable, "-m", "gollem", "demo", "--nodes", str(NODES)]
TIMEOUT_S = 180


def environment(folder: Path) -> dict[str, str]:
    found = {"TMPDIR": str(folder), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "COLUMNS": "100"}
    return found | {name: os.environ[name] for name in ("HOME", "JAVA_HOME") if name in os.environ}


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """As pasted into a shell."""
    return subprocess.run(
        ["/bin/sh", "-c", command], env=environment(folder), capture_output=True, text=True, timeout=TIMEOUT_S
    )


def test_the_demo_shows_it_all_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(COMMAND, env=environment(tmp_path), capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    figures = json.loads(done.stdout)
    assert list(figures) == (KEYS if NODES == 1 else [*KEYS, "nodes", "killed"])
    shown = re.sub(r" \[kill -9 [a-z0-9-]+\] ", "", done.stderr)
    assert figures["text"].strip() in " ".join(shown.split()) or figures["text"].strip() in shown
    money = {name: Decimal(figures[name]) for name in ("held", "charged", "refunded", "provider_share", "fee")}
    assert money["held"] == money["charged"] + money["refunded"]
    assert money["charged"] == money["provider_share"] + money["fee"] > 0
    assert figures["audit_ok"] is True
    assert figures["front_size"] == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_runs_on_and_every_command_that_is_printed_works(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--keep"], env=environment(tmp_path), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, done.stderr
    _, _, printed = done.stderr.partition("Still running, in ")
    export, *commands, end = [line.strip() for line in printed.splitlines() if line.startswith("  ")]
    pids = [int(pid) for pid in re.findall(r" (\d+)\b", end.partition("&&")[0])]
    try:
        # Of several nodes one is dead, and Redis and DynamoDB Local are there. The last is the gateway.
        assert len(pids) == (5 if NODES == 1 else 4 + (NODES - 1) + 2) + 1
        address = re.search(r"The dashboard: (http://127\.0\.0\.1:\d+)$", printed, re.M)
        assert address
        with urllib.request.urlopen(address[1], timeout=TIMEOUT_S) as page:
            assert "<title>GoLLeM</title>" in page.read().decode()
        told = f'curl -sS -H "authorization: Bearer $GOLLEM_PROVIDER_KEY" {address[1]}/api/account'
        assert json.loads(shell(f"{export} && {told}", tmp_path).stdout)["account"] == "swift"
        assert len(commands) == (10 if NODES == 1 else 11)
        for command in commands:
            tried = shell(f"{export} && {command}", tmp_path)
            assert tried.returncode == 0, f"{command}\n{tried.stderr}"
            assert tried.stdout.strip()
    finally:
        ended = shell(end, tmp_path)
        deadline = time.monotonic() + 60
        while any(map(alive, pids)) and time.monotonic() < deadline:
            time.sleep(0.02)
    assert ended.returncode == 0, ended.stderr
    assert not any(map(alive, pids))


def test_ctrl_c_ends_it_all_in_one_line(tmp_path: Path) -> None:
    with subprocess.Popen(COMMAND, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        line = next(line for line in demo.stderr if "front of" in line)  # everything has been started
        assert line
        demo.send_signal(signal.SIGINT)
        rest = demo.stderr.read()
        demo.wait(60)
    assert demo.returncode == 130
    assert rest.splitlines()[-1] == "stopped: everything has been ended, and nothing is left"
    assert "Traceback" not in rest
    assert "Aborted" not in rest
    assert list(tmp_path.iterdir()) == []


def test_a_missing_server_is_said_with_its_package(tmp_path: Path) -> None:
    """Before anything else is started for nothing."""
    path = environment(tmp_path) | {"PATH": str(tmp_path)}
    command = [*COMMAND[:4], "--nodes", "3"]
    done = subprocess.run(command, env=path, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 1
    assert "redis-server is missing: apt-get install redis-server" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child of nobody stays a zombie where nothing reaps: it has ended all the same.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
