"""What happens to an order book between two matches: one class a workload, by name in WORKLOADS."""

from array import array
from collections.abc import Callable

import numpy as np

from benchmarks.market_world import GPU_CENTI, GPUS, MODEL, World
from gollem.market.types import Bid

OPERATIONS = 100
Operation = Callable[[], object]


class Workload:
    """Realistic: reports jitter around what each ask's figures are."""

    jitter = 0.2

    def __init__(self, n: int) -> None:
        self.world = World(n)
        self.latency, self.tpot = self.world.latency.copy(), self.world.tpot.copy()

    def bid(self) -> Bid:
        return self.world.bid()

    def change(self) -> Operation:
        """The operations before the next match, ready to be called."""
        picked = self.world.random.integers(0, self.world.n, OPERATIONS)
        latency, tpot = self.figures(picked)
        self.world.latency[picked], self.world.tpot[picked] = latency, tpot
        return self.reports(picked)

    def figures(self, picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        factors = self.world.random.lognormal(0, self.jitter, (2, len(picked)))
        return tuple((base * factor).astype(np.int64) for base, factor in zip(self.bases(picked), factors, strict=True))

    def bases(self, picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.latency[picked], self.tpot[picked]

    def reports(self, picked: np.ndarray) -> Operation:
        world = self.world
        columns = (world.handles, world.latency, world.tpot, world.tokens, world.slots)
        batch = [array("q", column[picked].tolist()) for column in columns]
        return lambda: world.book.update(*batch)


class JitterOnly(Workload):
    """Figures tremble by two in a hundred."""

    jitter = 0.02


class Redrawn(Workload):
    """Each report says something that has nothing to do with the one before."""

    def figures(self, picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.world.reported(len(picked))


class Uniform(Workload):
    """Latency and time per token anywhere between fast and useless."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        everyone = np.arange(n)
        self.world.latency, self.world.tpot = self.figures(everyone)
        self.reports(everyone)()

    def figures(self, picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        random = self.world.random
        return random.integers(10_000, 2_000_000, len(picked)), random.integers(10**6, 5 * 10**7, len(picked))


class DepletedFront(Workload):
    """The best 95 % have few tokens left."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        world = self.world
        score = world.price * GPU_CENTI[world.gpu] / 6e6 + world.latency / 1.5e6 + world.tpot / 4e7
        best = np.argsort(score)[: n * 95 // 100]
        world.tokens[best] = world.random.integers(0, 200, len(best))
        self.reports(best)()


class RareGpu(Workload):
    """Bids name a GPU type that one ask in a thousand has."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        world, rare = self.world, len(GPUS) - 1
        for i in np.flatnonzero(world.gpu == rare)[n // 1_000 :].tolist():
            world.book.remove(int(world.handles[i]))
            world.slots[i] = 0

    def bid(self) -> Bid:
        return Bid(MODEL.name, 500, 500, 60_000, 10**12, 1_500_000, 40_000_000, (GPUS[-1],))


class SuperAsk(Workload):
    """One ask, the fastest, is repriced to the best and to the worst by turns."""

    def change(self) -> Operation:
        change, handle, turns = self.world.book.change, int(self.world.handles[0]), range(OPERATIONS // 2)

        def reprice() -> None:
            for _ in turns:
                change(handle, 1_000, 1_000, 0, 1_000, 1_000, 10**6, 1_000)
                change(handle, 10**8, 10**8, 0, 1_000, 1_000, 10**6, 1_000)

        return reprice


class AntiCorrelated(Workload):
    """What is cheap is slow."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        everyone = np.arange(n)
        self.latency = 2 * 10**10 // self.world.price
        self.tpot = 7 * 10**12 // self.latency
        self.world.latency, self.world.tpot = self.figures(everyone)
        self.reports(everyone)()


WORKLOADS: dict[str, Callable[[int], Workload]] = {
    "realistic": Workload,
    "jitter only": JitterOnly,
    "redrawn": Redrawn,
    "uniform": Uniform,
    "depleted front": DepletedFront,
    "rare GPU": RareGpu,
    "one super-ask repriced": SuperAsk,
    "anti-correlated": AntiCorrelated,
}
