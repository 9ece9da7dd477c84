"""Many seeds, in as many processes as there are cores."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from tests.simulation.run import Result, simulate


def simulate_many(seeds: Iterable[int], steps: int, jobs: int | None = None) -> Iterator[Result]:
    """Results in the order of the seeds."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(simulate, steps=steps), seeds, chunksize=8)
