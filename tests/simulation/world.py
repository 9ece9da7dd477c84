"""What everybody in a simulation shares: the loop, the dice, the history, and how wild the weather is."""

import hashlib
import logging
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any

from gollem.errors import GollemError, InvariantBroken
from tests.simulation.loop import VirtualLoop

EPOCH_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


class Found(Exception):
    """A promise was broken."""


class Unheard(Exception):
    """No answer came from a node."""


@dataclass
class Weather:
    """How likely each fault is."""

    lost: float = 0.0
    doubled: float = 0.0
    refused: float = 0.0
    unknown: float = 0.0
    slow: float = 0.0
    slowest_s: float = 0.01
    redis_lost: float = 0.0
    redis_doubled: float = 0.0
    redis_slow: float = 0.0


CALM = Weather()


class World:
    """One seed's. Every choice comes from `dice`, everything that happens goes to the history."""

    def __init__(self, seed: int, steps: int) -> None:
        self.seed = seed
        self.dice = Random(seed)
        self.loop = VirtualLoop(self.dice, _is_expected)
        self.weather = _weather(self.dice)
        self.steps = steps
        self.steps_left = steps
        self.last: deque[str] = deque(maxlen=30)
        self._digest = hashlib.blake2b(digest_size=16)
        self._numbers: dict[str, int] = {}

    @property
    def healing(self) -> bool:
        """Whether the faults are over, and everything under way has to finish."""
        return self.weather is CALM

    def note(self, *words: object) -> None:
        """Into the history."""
        line = f"{self.loop.time():.6f} " + " ".join(map(str, words))
        self.last.append(line)
        self._digest.update(line.encode())

    def digest(self) -> str:
        """Of the history so far, and of the dice."""
        self._digest.update(repr((self.loop.callbacks, self.dice.random())).encode())
        return self._digest.hexdigest()

    def take_step(self) -> bool:
        """One action of somebody; False if there are no more."""
        if self.steps_left <= 0:
            return False
        self.steps_left -= 1
        return True

    def new_id(self, prefix: str) -> str:
        number = self._numbers[prefix] = self._numbers.get(prefix, 0) + 1
        return f"{prefix}{number}"

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.dice.random() < probability

    def hop_s(self) -> float:
        """How long a message takes."""
        if self.chance(self.weather.slow):
            return self.dice.uniform(0, self.weather.slowest_s)
        return self.dice.uniform(0.000_1, 0.005)

    def redis_hop_s(self) -> float:
        """The same between a node and Redis."""
        if self.chance(self.weather.redis_slow):
            return self.dice.uniform(0, self.weather.slowest_s)
        return self.dice.uniform(0.000_1, 0.002)

    def expect(self, holds: bool, *words: object) -> None:
        """Raises Found unless it holds."""
        if not holds:
            raise Found(" ".join(map(str, words)))


def _is_expected(error: BaseException) -> bool:
    """Refusals and lost messages are; a broken invariant never is."""
    return isinstance(error, GollemError | Unheard) and not isinstance(error, InvariantBroken)


def _weather(dice: Random) -> Weather:
    """Some seeds are calm in one respect and wild in another, so that faults meet in many mixtures."""

    def some(most: float) -> float:
        return dice.choice((0.0, most / 4, most))

    return Weather(
        lost=some(0.15),
        doubled=some(0.15),
        refused=some(0.15),
        unknown=some(0.2),
        slow=some(0.4),
        slowest_s=dice.choice((0.05, 0.5, 2.5)),
        redis_lost=some(0.04),
        redis_doubled=some(0.1),
        redis_slow=some(0.1),
    )


def silence_logs() -> None:
    """Errors that the exchange logs and survives are expected here."""
    logging.getLogger("gollem").setLevel(logging.CRITICAL)


def run_now(coroutine: Any) -> Any:
    """The result of a coroutine that never waits, such as the ledger in memory has only."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value
    raise AssertionError("the ledger in memory waited")
