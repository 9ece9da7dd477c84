"""Forty seeds of payments keep every promise, a seed is one run for ever, and every planted bug is found."""

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest

from gollem.ledger import rules
from gollem.payments.attempts import Attempts
from gollem.payments.movements import Movements
from gollem.payments.proofs import Proofs
from tests.simulation.payments_run import simulate

SEEDS = range(1, 41)  # `python -m tests.simulation.payments --seeds 1-200` tries more
STEPS = 60
PART = 20  # seeds of one test


@pytest.mark.parametrize("first", SEEDS[::PART])
def test_forty_seeds(first: int) -> None:
    results = [simulate(seed, STEPS) for seed in range(first, first + PART)]
    failed = [result for result in results if result.error]
    assert not failed, "\n".join(map(str, failed))


def test_a_seed_is_one_run_in_any_process() -> None:
    outputs = [_run_in_a_process(hash_seed) for hash_seed in ("1", "2")]
    assert outputs[0] == outputs[1]
    assert "digest" in outputs[0]
    assert simulate(8, STEPS).digest not in outputs[0]


async def _without_looking(
    self: Attempts, intent: str, look_up: Callable[[], Awaitable[Any]], act: Callable[[str], Awaitable[Any]]
) -> Any:
    """Every call under a key of its own."""
    return await act(f"{intent}:{next(_NUMBERS)}")


async def _nothing(*_: object) -> None:
    """What it should do is forgotten."""


def _twice(txn_id: str, atoms: int, now_ms: int) -> Any:
    """Each fee is booked with a cent too many."""
    return _STRIPE_FEE(txn_id, atoms + 10**9, now_ms)


_NUMBERS, _STRIPE_FEE = count(), rules.stripe_fee
PLANTS: dict[str, tuple[Any, str, Any]] = {
    "nothing is looked up, no key is kept": (Attempts, "carry_out", _without_looking),
    "an alarm is raised before anything is healed": (Proofs, "_heal", _nothing),
    "fees are not booked": (Movements, "_complete", _nothing),
    "fees are a cent too high": (rules, "stripe_fee", _twice),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*PLANTS[name])
    found = next((result for result in (simulate(seed, STEPS) for seed in SEEDS) if result.error), None)
    assert found is not None
    assert f"seed {found.seed} failed at step {found.steps}" in str(found)


def _run_in_a_process(hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.simulation.payments", "--seed", "7", "--steps", str(STEPS)]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
