"""What is for sale: listed prices as asks, with what the list does not have drawn from a seed; and their catalogue."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.replay.inputs import ListedPrice
from benchmarks.replay.pricing import GPUS_CENTI, Model, ticks

CONTEXT_TOKENS = 262_144


@dataclass(frozen=True, slots=True)
class Listing:
    """One ask. Prices in ticks, latency in ms to the first token, throughput in tokens a second."""

    provider_id: str
    ask_id: str
    model: str
    gpu_type: str
    price_ticks: int
    completion_ticks: int
    latency_ms: int
    throughput_tps: float
    slots: int


def listings(asks: Sequence[ListedPrice], models: Mapping[str, Model], seed: int) -> list[Listing]:
    """An ask for each listed price. The same seed draws the same."""
    rng = random.Random(f"listings:{seed}")
    return [_listing(number, ask, models[ask.model], rng) for number, ask in enumerate(asks)]


def _listing(number: int, ask: ListedPrice, model: Model, rng: random.Random) -> Listing:
    gpu_type = rng.choice(list(GPUS_CENTI))
    return Listing(
        provider_id=ask.provider,
        ask_id=f"{ask.model}:{number}",  # a provider may list a model twice
        model=ask.model,
        gpu_type=gpu_type,
        price_ticks=ticks(ask.prompt_e8, model, GPUS_CENTI[gpu_type]),
        completion_ticks=ticks(ask.completion_e8, model, GPUS_CENTI[gpu_type]),
        latency_ms=_clamp(rng.lognormvariate(6.2, 0.6), 50, 20_000),
        throughput_tps=round(min(2_000.0, max(5.0, rng.lognormvariate(4.2, 0.6))), 1),
        slots=_clamp(rng.lognormvariate(2.3, 0.8), 1, 256),
    )


def _clamp(value: float, least: int, most: int) -> int:
    return min(most, max(least, round(value)))
