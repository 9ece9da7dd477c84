"""kill -9 and a full disk, on a real process: what was acknowledged is there, what was not can be asked again."""

import asyncio
import os
import random
import sys
from itertools import count
from pathlib import Path

from gollem.ledger import Ledger, open_ledger
from tests.ledger import crash_child
from tests.until import WITHIN_S

CALLERS = 16
ROUNDS = int(os.environ.get("KILL_ROUNDS", "20"))  # `make kill-rounds` asks for 200
CHILD = [sys.executable, crash_child.__file__]


async def run_and_kill(path: Path, round_number: int, lines_wanted: int, limit_bytes: int = 0) -> list[str]:
    """Let the child trade until it has said so many lines, kill it, and return all it has said."""
    arguments = [str(path), str(round_number), str(CALLERS), *([str(limit_bytes)] if limit_bytes else [])]
    child = await asyncio.create_subprocess_exec(
        *CHILD, *arguments, stdout=-1, stderr=-1, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert child.stdout is not None
    assert child.stderr is not None
    lines = []
    async with asyncio.timeout(WITHIN_S):
        while len(lines) < lines_wanted and (line := await child.stdout.readline()):
            lines.append(line.decode().strip())
        errors = b"" if len(lines) == lines_wanted else await child.stderr.read()
        assert len(lines) == lines_wanted, errors.decode()
        child.kill()
        rest = await child.stdout.read()
        await child.wait()
    return lines + rest.decode().splitlines()


async def missing(ledger: Ledger, acknowledged: list[str]) -> list[str]:
    return [key for key in acknowledged if await ledger.find_entry(key) is None]


def begun(ledger: Ledger, life: crash_child.Life, name: str, said: set[str]) -> int:
    """How many of the caller's are known to have begun."""
    return next(number for number in count() if life(ledger, f"{name}-{number}")[0][0] not in said)


async def finish(ledger: Ledger, round_number: int, acknowledged: list[str]) -> list[str]:
    """Do everything again that each caller may have had under way. Returns what was committed and never answered."""
    said, found = set(acknowledged), []
    for life, name in crash_child.lives(round_number, CALLERS):
        next_number = begun(ledger, life, name, said)
        for number in range(max(next_number - 1, 0), next_number + 1):
            for key, post in life(ledger, f"{name}-{number}"):
                was_there = await ledger.find_entry(key) is not None
                posted = await post()
                assert posted
                assert posted.applied is not was_there
                assert posted.entry.key == key
                if was_there and key not in said:
                    found.append(key)
    return found


async def test_killed_again_and_again_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    chance = random.Random(ROUNDS)
    unacknowledged: list[str] = []
    for round_number in range(ROUNDS):
        acknowledged = await run_and_kill(path, round_number, chance.randint(1, 400))
        ledger = await open_ledger(f"sqlite://{path}")
        assert await missing(ledger, acknowledged) == []
        unacknowledged += await finish(ledger, round_number, acknowledged)
        report = await ledger.audit()
        assert report.findings == []
        assert await ledger.open_holds() == []
        assert await ledger.records("payout", "INITIATED") == []
        assert await ledger.records("purchase", "CREATED") == []
        await ledger.close()
    # Some kills fell between COMMIT and its answer: the very moment that the keys are for.
    assert unacknowledged


async def test_full_disk_loses_nothing_acknowledged_and_heals(tmp_path: Path) -> None:
    """Fault 27: the disk fills up during COMMIT. Callers learn that the outcome is unknown and ask again."""
    path = tmp_path / "ledger.db"
    said = await run_and_kill(path, 0, 3_000, limit_bytes=1 << 20)
    failures = [line.split()[1] for line in said if line.startswith("!")]
    acknowledged = [line for line in said if not line.startswith("!")]
    ledger = await open_ledger(f"sqlite://{path}")

    assert set(failures) == {"OutcomeUnknown"}
    assert len(acknowledged) == len(set(acknowledged)) > 1_000
    assert await missing(ledger, acknowledged) == []
    await finish(ledger, 0, acknowledged)
    assert (await ledger.audit()).findings == []
    assert await ledger.open_holds() == []
    await ledger.close()
