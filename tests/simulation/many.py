"""Many seeds, in as many processes as there are cores."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from tests.simulation.run import Result, simulate

Simulate = Callable[[int, int], Result]  # a seed, and how many steps


def simulate_many(
    seeds: Iterable[int], steps: int, jobs: int | None = None, one: Simulate = simulate
) -> Iterator[Result]:
    """Results in the order of the seeds. Raises what the first seed that fails raises, and leaves the others."""
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        yield from pool.map(partial(one, steps=steps), seeds, chunksize=8)
    finally:
        pool.shutdown(cancel_futures=True)
