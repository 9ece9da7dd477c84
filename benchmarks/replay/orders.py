"""What is asked for: each request as a bid, with limits, policy, consumer and fate drawn from a seed. Pure."""

import random
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from benchmarks.replay.inputs import Request
from benchmarks.replay.listings import Listing
from gollem import units
from gollem.rpc.pb import market_pb2

POLICIES = {
    "balanced": market_pb2.POLICY_BALANCED,
    "price": market_pb2.POLICY_PRICE,
    "latency": market_pb2.POLICY_LATENCY,
    "throughput": market_pb2.POLICY_THROUGHPUT,
}
# Quotes cost as much as matches, so the spread is taken from a part of the orders.
QUOTED_SHARE = 0.1
# Of the orders that are served, or fail: not every client tells what it measured.
REPORTED_SHARE = 0.5


class Fate(Enum):
    """What becomes of an order once it is matched."""

    COMPLETED = "completed"
    FAILED = "failed"  # the provider settles it with no tokens
    CANCELLED = "cancelled"  # the consumer changes its mind before it starts
    ABANDONED = "abandoned"  # nobody settles it: the hold expires


@dataclass(frozen=True, slots=True)
class Order:
    """A request turned into a bid. `luck` in 0..1 meets the unreliability of whoever wins it.

    `slowness` is by how much its answer is slower than the provider's usual; `reported`: its consumer tells so."""

    order_id: str
    at_s: float
    consumer: int
    policy: str
    bid: market_pb2.Bid
    completion_tokens: int
    quoted: bool
    luck: float
    reported: bool
    slowness: float

    def fate(self, failing_share: float) -> Fate:
        """`failing_share` is the winner's share of orders that it fails."""
        if self.luck < failing_share:
            return Fate.FAILED
        if self.luck > 0.995:
            return Fate.ABANDONED
        return Fate.CANCELLED if self.luck > 0.99 else Fate.COMPLETED


def orders(requests: Sequence[Request], asks: Sequence[Listing], consumers: int, seed: int) -> list[Order]:
    """An order for each request. A model is asked for as often as it is offered."""
    prices: dict[str, list[int]] = defaultdict(list)
    for ask in asks:
        prices[ask.model].append(ask.price_ticks)
    typical = {model: round(statistics.median(ticks)) for model, ticks in prices.items()}
    return [_order(number, request, asks, typical, consumers, seed) for number, request in enumerate(requests)]


def _order(
    number: int, request: Request, asks: Sequence[Listing], typical: dict[str, int], consumers: int, seed: int
) -> Order:
    rng = random.Random(f"order:{seed}:{number}")
    model = rng.choice(asks).model
    policy = list(POLICIES)[number % len(POLICIES)]
    return Order(
        order_id=f"replay-{number}",
        at_s=request.at_s,
        consumer=rng.randrange(consumers),
        policy=policy,
        bid=_bid(request, model, typical[model], policy, rng),
        completion_tokens=request.completion_tokens,
        quoted=rng.random() < QUOTED_SHARE,
        luck=rng.random(),
        reported=rng.random() < REPORTED_SHARE,
        slowness=rng.lognormvariate(0.0, 0.2),
    )


def _bid(request: Request, model: str, typical_ticks: int, policy: str, rng: random.Random) -> market_pb2.Bid:
    """Asks for more tokens than will be used, as clients do; each limit is stated by a part of the bids."""
    bid = market_pb2.Bid(
        model=model,
        prompt_tokens=request.prompt_tokens,
        max_tokens=max(64, round(request.completion_tokens * rng.uniform(1.0, 2.5))),
        policy=POLICIES[policy],
    )
    if rng.random() < 0.5:
        bid.max_price = units.format_fixed(max(1, round(typical_ticks * rng.uniform(0.5, 6))))
    if rng.random() < 0.5:
        bid.max_latency_ms = round(rng.lognormvariate(6.9, 0.6)) + 1
    if rng.random() < 0.3:
        bid.min_throughput_tps = round(rng.lognormvariate(3.4, 0.6), 1)
    if rng.random() < 0.2:
        bid.gpu_types.append(rng.choice(("h100", "a100")))
    return bid
