"""Whether this server should be given work: told by those who know, asked at most once a second."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gollem.clock import Clock
from gollem.errors import GollemError

ASK_TIMEOUT_S = 2.0
_KEPT_MS = 1_000
Question = Callable[[], Awaitable[object]]


class Phase(StrEnum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Answer:
    """`checks` says of each what is wrong with it, or ok. A server that is degraded is ready all the same."""

    phase: Phase
    ready: bool
    degraded: bool
    checks: Mapping[str, str]


class Readiness:
    """Begins as starting. Not ready unless it serves and every question is answered within two seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._questions: dict[str, Question] = {}
        self._is_degraded: Callable[[], bool] = lambda: False
        self._checks: Mapping[str, str] = {}
        self._asked_ms: int | None = None
        self._asking = asyncio.Lock()
        self.phase = Phase.STARTING

    def ask(self, name: str, question: Question) -> None:
        """`question` raises, or hangs, when it cannot be worked with."""
        self._questions[name] = question

    def degraded_if(self, condition: Callable[[], bool]) -> None:
        self._is_degraded = condition

    async def look(self) -> Answer:
        """Many may ask at once: those who wait get the same answer."""
        async with self._asking:
            now_ms = self._clock.monotonic_ms()
            if self._asked_ms is None or now_ms - self._asked_ms >= _KEPT_MS:
                names = list(self._questions)
                answers = await asyncio.gather(*(_answer(self._questions[name]) for name in names))
                self._checks = dict(zip(names, answers, strict=True))
                self._asked_ms = self._clock.monotonic_ms()
        return Answer(self.phase, self.was_ready, self._is_degraded(), self._checks)

    @property
    def was_ready(self) -> bool:
        """By what was answered last."""
        return self.phase is Phase.SERVING and all(answer == "ok" for answer in self._checks.values())


async def _answer(question: Question) -> str:
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            await question()
    except TimeoutError:
        return f"no answer within {ASK_TIMEOUT_S:g} s"
    except GollemError as error:
        return error.reason
    except Exception as error:
        return type(error).__name__
    return "ok"
