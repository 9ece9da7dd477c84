"""Fault 16: a process killed at each call of an order's life; whoever comes after finishes it, and money moves once."""

import asyncio
import sys

import pytest

from gollem.ledger import Balance, rules
from gollem.ledger.dynamodb.ledger import open_dynamodb
from tests.contracts.samples import NOW_MS, granting, hold_of, opening

# Before and after the call of each of three transactions; then one that lives.
PLACES = range(7)


@pytest.mark.parametrize("place", PLACES)
async def test_process_killed_at_any_call_leaves_what_a_retry_finishes(dynamodb_table: str, place: int) -> None:
    arguments = ["-m", "tests.ledger.crash_child_dynamodb", dynamodb_table, str(place)]
    child = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    acknowledged = output.decode().split()
    assert child.returncode == (0 if place == PLACES[-1] else -9)
    assert len(acknowledged) == place // 2

    hold = hold_of()
    ledger = await open_dynamodb(dynamodb_table)
    posts = [await ledger.post(one) for one in (granting(100), opening(hold), rules.settle(hold, 60, 3, NOW_MS))]

    written = (place + 1) // 2  # killed after a call: written, and never acknowledged
    assert [posted.applied for posted in posts] == [number >= written for number in range(3)]
    assert await ledger.balance("alice") == Balance(40, 0, True)
    assert (await ledger.provider_balance("acme")).earned_atoms == 57
    assert (await ledger.audit()).findings == []
    await ledger.close()
