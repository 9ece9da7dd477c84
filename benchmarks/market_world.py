"""Asks and bids for the order book's benchmark, drawn from a seed, and what its peers make of them.

One model, four GPU types. Prices on 32 ticks, lognormal latency and time per token, capacity heavy-tailed.
Bids have all limits and equal weights, 30 % name one GPU type, 10 % exclude two providers.
"""

from collections.abc import Iterator

import numpy as np

from gollem._core import Book, Query
from gollem.market import Catalogue
from gollem.market.pricing import max_cost_units, scales
from gollem.market.types import Bid

MODEL = Catalogue.load().resolve("llama-3.3-70b")
GPUS = ("h100", "a100", "l40s", "rtx4090")
GPU_CENTI = np.array([200, 150, 100, 100])
PROVIDERS = 500


class World:
    """n asks as columns, in a core book and for the peers."""

    def __init__(self, n: int, seed: int = 7) -> None:
        self.random = rng = np.random.default_rng(seed)
        self.n = n
        self.price = 1_000 * rng.integers(20, 52, n)
        self.completion = 2 * self.price
        self.latency, self.tpot = self.reported(n)
        self.tokens = np.minimum(10**9, 4_000 * rng.pareto(1.1, n) + 2_000).astype(np.int64)
        self.slots = np.full(n, 1_000)
        self.gpu = rng.integers(0, len(GPUS), n)
        self.provider = rng.integers(0, PROVIDERS, n)
        self.book = Book()
        self.partitions = [self.book.partition(int(centi)) for centi in GPU_CENTI]
        self.handles = np.array([self.book.add(self.partitions[g], p, *terms) for g, p, *terms in self.rows()])

    def rows(self) -> Iterator[tuple[int, ...]]:
        columns = (self.gpu, self.provider, self.price, self.completion, np.zeros(self.n, int))
        yield from zip(
            *[column.tolist() for column in (*columns, self.latency, self.tpot, self.tokens, self.slots)], strict=True
        )

    def reported(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        rng = self.random
        latency = np.clip(500_000 * rng.lognormal(0, 0.6, n), 1, 3.6e9).astype(np.int64)
        return latency, np.clip(1.5e7 * rng.lognormal(0, 0.5, n), 1, 1e13).astype(np.int64)

    def bid(self) -> Bid:
        rng = self.random
        return Bid(
            model=MODEL.name,
            prompt_tokens=int(rng.integers(50, 3_000)),
            max_tokens=int(rng.integers(50, 1_000)),
            max_price_ticks=60_000,
            max_cost_atoms=10**12,
            max_latency_us=1_500_000,
            max_tpot_ns=40_000_000,
            gpu_types=(GPUS[rng.integers(4)],) if rng.random() < 0.3 else (),
            exclude_providers=("1", "2") if rng.random() < 0.1 else (),
        )

    def query(self, bid: Bid) -> Query:
        cost, latency, tpot = scales(bid, MODEL)
        named = [GPUS.index(gpu) for gpu in bid.gpu_types] or range(4)
        return Query(
            tuple(self.partitions[i] for i in named),
            bid.prompt_tokens,
            bid.max_tokens,
            bid.prompt_tokens + bid.max_tokens,
            bid.max_price_ticks or 0,
            max_cost_units(bid.max_cost_atoms, MODEL.multiplier_micro),
            bid.max_latency_us or 0,
            bid.max_tpot_ns or 0,
            (*cost, *latency, *tpot),
            None,
            tuple(map(int, bid.exclude_providers)),
        )

    # --- peers ------------------------------------------------------------------------------------------------------

    def numpy_feasible(self, bid: Bid) -> tuple[np.ndarray, np.ndarray]:
        blend = self.price * bid.prompt_tokens + self.completion * bid.max_tokens
        cost = blend * GPU_CENTI[self.gpu]
        n = bid.prompt_tokens + bid.max_tokens
        ok = (blend <= (bid.max_price_ticks or 0) * n) & (self.latency <= (bid.max_latency_us or 0))
        ok &= (self.tpot <= (bid.max_tpot_ns or 0)) & (self.tokens >= n) & (self.slots > 0)
        ok &= cost <= max_cost_units(bid.max_cost_atoms, MODEL.multiplier_micro)
        if bid.gpu_types:
            ok &= self.gpu == GPUS.index(bid.gpu_types[0])
        for provider in bid.exclude_providers:
            ok &= self.provider != int(provider)
        return ok, cost

    def numpy_match(self, bid: Bid) -> int:
        """A masked arg-min."""
        ok, cost = self.numpy_feasible(bid)
        n = bid.prompt_tokens + bid.max_tokens
        score = cost / (60_000 * n * 100) + self.latency / 1_500_000 + self.tpot / 40_000_000
        return int(np.argmin(np.where(ok, score, np.inf)))

    def numpy_front(self, bid: Bid) -> int:
        """Sort by cost, then keep what the rest does not dominate, in blocks (numpy has no sweep)."""
        ok, cost = self.numpy_feasible(bid)
        points = np.column_stack([cost[ok], self.latency[ok], self.tpot[ok]])
        points = points[np.argsort(points.sum(axis=1) / points.mean(), kind="stable")]
        size = 0
        while len(points):
            head = points[0]
            size += 1
            points = points[np.any(points < head, axis=1)]
        return size
