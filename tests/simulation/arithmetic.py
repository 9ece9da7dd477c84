"""The auditor's own sums, from the product's rules and not from the code under test."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

MODEL = {"gpt-4": Fraction(2), "gpt-3": Fraction(1)}
GPU = {"h100": Fraction(2), "a100": Fraction(3, 2)}
TOKENS_A_CREDIT = 4
# A tick a standard credit of work is 10^-8 USD, which is 1,000 times as many credits, of 10^8 atoms each.
ATOMS_A_TICK = 1_000
FEE = Fraction(5, 100)


@dataclass(frozen=True)
class Parts:
    """Where the money of a settled order goes."""

    charge: int
    fee: int

    @property
    def share(self) -> int:
        return self.charge - self.fee


def cost(terms: dict[str, Any], prompt_tokens: int, completion_tokens: int) -> int:
    """Atoms, rounded up once."""
    ticks = terms["price_ticks"] * prompt_tokens + terms["completion_price_ticks"] * completion_tokens
    work = MODEL[terms["model"]] * GPU[terms["gpu_type"]]
    return ceil(ticks * work * ATOMS_A_TICK / TOKENS_A_CREDIT)


def parts(terms: dict[str, Any], prompt_tokens: int, completion_tokens: int, completed: bool) -> Parts:
    """Of an order that used this much: nothing beyond what was granted, and nothing for nothing."""
    if not completed and completion_tokens == 0:
        return Parts(0, 0)
    charge = cost(terms, min(prompt_tokens, terms["prompt_tokens"]), min(completion_tokens, terms["max_tokens"]))
    return Parts(charge, floor(charge * FEE))
