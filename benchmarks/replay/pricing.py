"""From USD per million tokens to ticks: each model gets a multiplier that keeps its prices well above the tick.

A token costs price x multiplier of the model x multiplier of the GPU / 4. So with `p` in 10^-8 USD per million tokens

    ticks = 400 * p / (model_micro * gpu_centi)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.replay.inputs import BadInput, ListedPrice

MIN_TICKS = 1_000  # so that rounding to the tick moves no price by more than 0.05 %
MAX_TICKS = 10**8
GPUS_CENTI = {"h100": 200, "a100": 150, "l40s": 100}


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the replay's catalogue."""

    name: str
    multiplier_micro: int


def models(asks: Sequence[ListedPrice]) -> dict[str, Model]:
    """Every model by its name, with the largest power of ten as multiplier that leaves its cheapest ask MIN_TICKS."""
    cheapest: dict[str, int] = {}
    for ask in asks:
        least = min(ask.prompt_e8, ask.completion_e8)
        cheapest[ask.model] = min(least, cheapest.get(ask.model, least))
    return {name: Model(name, _multiplier_micro(least)) for name, least in cheapest.items()}


def ticks(price_e8: int, model: Model, gpu_centi: int) -> int:
    """A price in ticks, rounded half up. Raises BadInput where it is too far above the model's cheapest."""
    divisor = model.multiplier_micro * gpu_centi
    value = (400 * price_e8 + divisor // 2) // divisor
    if value > MAX_TICKS:
        raise BadInput(f"{model.name}: its dearest price is more than {MAX_TICKS // MIN_TICKS:,} times its cheapest")
    return value


def _multiplier_micro(least_e8: int) -> int:
    dearest_gpu = max(GPUS_CENTI.values())
    micro = 10**6
    while micro > 1 and 400 * least_e8 < MIN_TICKS * micro * dearest_gpu:
        micro //= 10
    return micro
