"""A Redis that loses what it acknowledged: failovers to a replica that lags, FLUSHALL, restarts, its own time."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from tests.simulation.redis.data import Data, Entry, WrongCommand
from tests.simulation.redis.functions import Library, library
from tests.simulation.world import EPOCH_MS, World


class Witness(Protocol):
    """Who looks on, and is looked at by nobody."""

    def called(self, function: str, keys: Sequence[str], arguments: Sequence[str], reply: Any) -> None:
        """A function of the exchange's has run."""

    def lost(self, how: str) -> None:
        """What was there before may be gone."""


class Server:
    """`generation` rises when every connection is cut."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.data = Data()
        self._libraries: dict[str, Library] = {}
        self._runs = 1
        self._replica: Data | None = None
        self._ahead_us = 0
        self.generation = 0
        self.is_away = False
        self.witness: Witness | None = None
        self._news = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def now_us(self) -> int:
        """Its clock: right, or ahead of that since a failover to a server whose clock is."""
        return EPOCH_MS * 1_000 + int(self._world.loop.time() * 1_000_000) + self._ahead_us

    # --- what clients ask -------------------------------------------------------------------------------------------

    def load(self, code: str) -> None:
        found = library(code)
        self._libraries[found.name] = found

    def call(self, function: str, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        """A function's reply. Raises WrongCommand if it is not loaded."""
        name, _, short = function.rpartition("_")
        if name not in self._libraries:
            raise WrongCommand("Function not found")
        reply = self._libraries[name].run(function, keys, arguments, self.command)
        if self.witness:
            self.witness.called(short, keys, arguments, reply)
        if short == "publish":
            self._wake()
        return reply

    def command(self, name: str, *arguments: str) -> Any:
        if name == "INFO":
            return f"# Server\r\nrun_id:{self._runs:040x}\r\n"
        return self.data.call(self.now_us, name, *arguments)

    def read(self, key: str, after: str, limit: int) -> tuple[int, list[Entry]]:
        """How often there was news so far, and what comes after an entry."""
        return self._news, self.command("XREAD", key, after, str(limit))

    async def wait_for_news(self, known: int, until_s: float) -> None:
        """Until something was published, or every connection was cut, since there was news so often; or until then."""
        if self._news == known:
            news: asyncio.Future[None] = self._world.loop.create_future()
            self._waiting.append(news)
            patience = self._world.loop.outside(until_s - self._world.loop.time(), _wake, news)
            await news
            patience.cancel()

    # --- what goes wrong --------------------------------------------------------------------------------------------

    def lag(self) -> None:
        """From now on the replica hears nothing any more."""
        self._replica = self.data.copy()

    def fail_over(self, ahead_us: int) -> None:
        """The replica takes over, with what it knew when it began to lag. Its clock is ahead of the old one's."""
        self._world.note("redis fails over, its clock", ahead_us, "us ahead")
        self.data, self._replica = self._replica or self.data, None
        self._ahead_us += ahead_us
        self._begin_anew("failover")

    def restart(self) -> None:
        """Empty, without functions."""
        self._world.note("redis restarts")
        self.data, self._libraries = Data(), {}
        self._begin_anew("restart")

    def flush(self) -> None:
        self._world.note("redis is flushed")
        self.command("FLUSHALL")
        if self.witness:
            self.witness.lost("flush")

    def _begin_anew(self, how: str) -> None:
        self._runs += 1
        self.cut()
        if self.witness:
            self.witness.lost(how)

    def cut(self) -> None:
        """Every connection ends."""
        self.generation += 1
        self._wake()

    def _wake(self) -> None:
        self._news += 1
        waiting, self._waiting = self._waiting, []
        for news in waiting:
            _wake(news)


def _wake(news: asyncio.Future[None]) -> None:
    if not news.done():
        news.set_result(None)
