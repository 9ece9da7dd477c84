"""`python -m tests.simulation --seed 7 --steps 2000`, or `--seeds 1-10000` over all cores."""

import argparse
import sys
import time

from tests.simulation.many import simulate_many
from tests.simulation.run import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed, its digest printed")
    parser.add_argument("--seeds", default="1-200", help="FIRST-LAST, if no --seed is given")
    parser.add_argument("--steps", type=int, default=200, help="actions of users in each run")
    parser.add_argument("--jobs", type=int, default=None, help="processes; as many as cores if not given")
    wanted = parser.parse_args()
    started = time.perf_counter()
    if wanted.seed is not None:
        result = simulate(wanted.seed, wanted.steps)
        print(result)
        return bool(result.error)
    first, _, last = wanted.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    failed = 0
    for result in simulate_many(seeds, wanted.steps, wanted.jobs):
        if result.error:
            failed += 1
            print(result, flush=True)
    seconds = time.perf_counter() - started
    print(f"{len(seeds)} seeds of {wanted.steps} steps, {failed} failed, {len(seeds) / seconds:.1f} seeds a second")
    return bool(failed)


sys.exit(main())
