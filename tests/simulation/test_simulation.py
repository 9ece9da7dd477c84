"""Two hundred seeds keep every promise, a seed is one run for ever, and every planted bug is found."""

import os
import subprocess
import sys

import pytest

from tests.simulation.many import simulate_many
from tests.simulation.plants import PLANTS, planted
from tests.simulation.run import simulate

SEEDS = range(1, 201)
STEPS = 200
SHORT = 120  # steps of each seed in the default suite; `make simulate-long` takes 200


def test_two_hundred_seeds() -> None:
    failed = [result for result in simulate_many(SEEDS, SHORT, jobs=2) if result.error]
    assert not failed, "\n".join(map(str, failed))


def test_a_seed_is_one_run_in_any_process() -> None:
    outputs = [_run_in_a_process(hash_seed) for hash_seed in ("1", "2")]
    assert outputs[0] == outputs[1]
    assert "digest" in outputs[0]
    assert simulate(8, STEPS).digest not in outputs[0]


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(name):
        found = next((result for result in (simulate(seed, STEPS) for seed in SEEDS) if result.error), None)
    assert found is not None
    assert f"seed {found.seed} failed at step {found.steps}" in str(found)
    assert len(found.last) == 30 or found.steps < 30


def _run_in_a_process(hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.simulation", "--seed", "7", "--steps", str(STEPS)]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
