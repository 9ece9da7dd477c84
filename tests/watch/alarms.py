"""What every test of alerts shares: the rules in moments instead of minutes, and a look at what fires."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from tests.servers.prometheus import Prometheus
from tests.until import until_answer

S = TypeVar("S")
Trouble = Callable[[S, "Alarms"], Awaitable[None]]
# Each with the alerts that it makes fire and clear.
Troubles = Mapping[Trouble[S], Collection[str]]

RULES = Path(__file__).parents[2] / "deploy" / "prometheus"
WITHIN_S = 60
# Of what is measured by a clock that no test moves.
THRESHOLDS = {
    "hold_overdue_seconds) > 120": "hold_overdue_seconds) > 1",
    # By then a call of the ledger has been given up (15 s).
    "books_read_age_seconds) > 300": "books_read_age_seconds) > 20",
}


def quick_rules(change: Callable[[str], str] = lambda text: text) -> dict[str, str]:
    """The rules as they are, but for their windows, which are seconds, and for their patience, which is none."""
    texts = {name: (RULES / name).read_text() for name in ("recording.yml", "alerts.yml")}
    return {
        name: re.sub(r"for: \w+", "for: 0s", re.sub(r"\[(\d+)[mhd]\]", "[4s]", change(text)))
        for name, text in texts.items()
    }


def moments(text: str) -> str:
    for long, short in THRESHOLDS.items():
        text = text.replace(long, short)
    return text


class Alarms:
    """`fired` and `cleared` are those that were waited for."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self.fired: set[str] = set()
        self.cleared: set[str] = set()

    async def fires(self, *names: str) -> None:
        await self._until(lambda firing: set(names) <= firing, f"{names} to fire")
        self.fired |= set(names)

    async def clears(self, *names: str) -> None:
        await self._until(lambda firing: not set(names) & firing, f"{names} to clear")
        self.cleared |= set(names)

    async def provoke(self, stage: S, trouble: Trouble[S], names: Collection[str]) -> None:
        """Whatever the trouble is said to make fire has fired because of it, and is over with it."""
        self.fired, self.cleared = set(), set()
        await trouble(stage, self)
        assert self.fired == set(names), trouble
        assert self.fired <= self.cleared, trouble

    async def _until(self, holds: Callable[[set[str]], bool], what: str) -> None:
        firing: set[str] = set()

        async def look() -> bool:
            nonlocal firing
            firing = await asyncio.to_thread(self._prometheus.firing)
            return holds(firing)

        try:
            await until_answer(look, WITHIN_S)
        except AssertionError:
            raise AssertionError(f"waited {WITHIN_S} s for {what}; there are {firing}") from None


def wanted(troubles: Troubles[S], short: Collection[Trouble[S]]) -> Troubles[S]:
    """Those that are short; `make alerts` has all of them."""
    is_all = os.environ.get("TROUBLES") == "all"
    return {trouble: names for trouble, names in troubles.items() if is_all or trouble in short}
