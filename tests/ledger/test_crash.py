"""kill -9 and a full disk, on a real process: what was acknowledged is there, what was not can be asked again."""

import asyncio
import os
import random
import sys
from pathlib import Path

from gollem.ledger import Ledger, open_ledger, rules
from tests.ledger import crash_child

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
    async with asyncio.timeout(20):
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


async def finish(ledger: Ledger, round_number: int, acknowledged: list[str]) -> list[bool]:
    """Post everything again that each caller may have had under way. True: it was committed before the kill."""
    found = []
    for caller in range(CALLERS):
        prefix = f"hold:order-{round_number}-{caller}-"
        last = max((int(key.rsplit("-", 1)[1]) for key in acknowledged if key.startswith(prefix)), default=-1)
        for number in (max(last, 0), last + 1):
            hold = crash_child.hold_of(round_number, caller, number)
            for transaction in (
                rules.hold(hold, "bid", hold.opened_at_ms),
                rules.settle(hold, 7, 1, hold.opened_at_ms),
            ):
                was_there = await ledger.find_entry(transaction.key) is not None
                posted = await ledger.post(transaction)
                assert posted.applied is not was_there
                found.append(was_there and transaction.key not in acknowledged)
    return found


async def test_killed_again_and_again_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    chance = random.Random(ROUNDS)
    unacknowledged = 0
    for round_number in range(ROUNDS):
        acknowledged = await run_and_kill(path, round_number, chance.randint(1, 400))
        ledger = await open_ledger(f"sqlite://{path}")
        assert await missing(ledger, acknowledged) == []
        unacknowledged += sum(await finish(ledger, round_number, acknowledged))
        report = await ledger.audit()
        assert report.findings == []
        assert await ledger.open_holds() == []
        await ledger.close()
    # Some kills fell between COMMIT and its answer: the very moment that the keys are for.
    assert unacknowledged > 0


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
