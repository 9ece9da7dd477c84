"""What systemd would forbid the exchange, it does not need: every system call of a drill is one that the unit allows,
and no memory is made executable once it was written. `make deploy-check` runs it; needs strace, and a kernel of 6.3.

systemd itself is not started: what else a unit says is what `systemd-analyze` has read (test_systemd.py).
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.deploy.test_systemd import FOLDER

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
    command = ["systemd-analyze", "syscall-filter", "--no-pager", *groups]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    words = {line.strip() for line in told.splitlines() if line.startswith("    ")}
    nested = [word for word in words if word.startswith("@")]
    names = {word for word in words if re.fullmatch(r"\w+", word)}
    return names | (expanded(nested) if nested else set())


def test_every_system_call_is_allowed(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    wrapper = tmp_path / "bin/gollem"
    wrapper.parent.mkdir()
    real = Path(sys.executable).parent / "gollem"
    wrapper.write_text(f'#!/bin/sh\nexec strace -D -f --seccomp-bpf -qq -o {log}.$$ -e trace=all {real} "$@"\n')
    wrapper.chmod(0o755)
    drill = [sys.executable, ROOT / "deploy/drill.py", "--orders", "8", tmp_path / "drill"]
    environment = os.environ | {"DRILL_GOLLEM": str(wrapper)}
    done = subprocess.run(drill, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    text = "\n".join(file.read_text(errors="replace") for file in tmp_path.glob("calls.*"))
    used = set(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
    assert {"epoll_wait", "fdatasync", "accept4"} & used
    assert used - allowed(FOLDER / "gollem-exchange.service") - AS_ROOT == set()


def test_no_memory_becomes_executable(tmp_path: Path) -> None:
    drill = [sys.executable, ROOT / "deploy/drill.py", "--orders", "8", tmp_path / "drill"]
    done = subprocess.run([sys.executable, "-c", REFUSING, *drill], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
