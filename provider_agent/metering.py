"""Counts what was really delivered, and says what may be charged for it. Pure."""

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """How a generation ended; values are the names of SettleRequest.Outcome."""

    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Tokens:
    prompt: int
    completion: int


NOTHING = Tokens(0, 0)


class Meter:
    """One generation. The model server's own count is taken where it tells one, else one token a delta.

    A token counts from when it is handed over for sending. The model has worked for it by then, and whether and when
    the consumer reads it is the consumer's affair: were only what is read counted, whoever reads slowly would hold a
    slot and pay nothing. What the model server has in store beyond that cannot reach the consumer, and is free.
    """

    def __init__(self, allowed: Tokens, prompt_tokens: int) -> None:
        self._allowed = allowed
        self._prompt_tokens = prompt_tokens
        self._deltas = 0
        self._told = NOTHING

    def delivered(self) -> None:
        """A delta with text is handed over for sending to the consumer."""
        self._deltas += 1

    def told(self, tokens: Tokens) -> None:
        """The model server has said how much it used so far, all of it handed over."""
        self._told = tokens

    @property
    def full(self) -> bool:
        """Whether the grant allows no further token: a model server that goes on regardless is stopped."""
        return self._deltas >= self._allowed.completion

    @property
    def anything(self) -> bool:
        """Whether any of the answer was handed over."""
        return self._deltas > 0

    def tokens(self, outcome: Outcome) -> Tokens:
        """What to settle: within the grant, and nothing for an answer of which nothing was handed over."""
        if outcome is not Outcome.COMPLETED and not self._deltas:
            return NOTHING
        prompt = self._told.prompt or self._prompt_tokens
        completion = self._told.completion or self._deltas
        return Tokens(min(prompt, self._allowed.prompt), min(completion, self._allowed.completion))
