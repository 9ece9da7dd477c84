"""What every simulation's command does: one seed with its digest, or many over all cores."""

import argparse
import time

from tests.simulation.many import Simulate, simulate_many


def run_command(name: str, about: str, one: Simulate, steps: int) -> int:
    """Reads the command line. The exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    parser.add_argument("--seed", type=int, help="one seed, its digest printed")
    parser.add_argument("--seeds", default="1-200", help="FIRST-LAST, if no --seed is given")
    parser.add_argument("--steps", type=int, default=steps, help="actions of users in each run")
    parser.add_argument("--jobs", type=int, default=None, help="processes; as many as cores if not given")
    wanted = parser.parse_args()
    started = time.perf_counter()
    if wanted.seed is not None:
        result = one(wanted.seed, wanted.steps)
        print(result)
        return bool(result.error)
    first, _, last = wanted.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    failed = 0
    for result in simulate_many(seeds, wanted.steps, wanted.jobs, one):
        if result.error:
            failed += 1
            print(result, flush=True)
    seconds = time.perf_counter() - started
    print(f"{len(seeds)} seeds of {wanted.steps} steps, {failed} failed, {len(seeds) / seconds:.1f} seeds a second")
    return bool(failed)
