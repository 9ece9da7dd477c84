"""The one ledger that all nodes share, seen through a wire: slow, refusing, or silent about what became of a write."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gollem.errors import GollemError, InvariantBroken, LedgerUnavailable, OutcomeUnknown
from gollem.ledger import Ledger
from tests.simulation.loop import Process
from tests.simulation.world import World, run_now


class SharedStore:
    """The ledger in memory, and its weather. A write under way survives the crash of whoever sent it."""

    def __init__(self, world: World, ledger: Any) -> None:
        self.world = world
        self.ledger = ledger
        self.out = False
        self.under_way = 0
        self.written_by: dict[str, Process] = {}

    def seen_by(self, process: Process) -> Ledger:
        """The ledger as this process reaches it."""
        return _View(self, process)  # type: ignore[return-value]

    async def call(self, process: Process, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One call over the wire."""
        if not process.alive:
            raise LedgerUnavailable("a dead process reaches nobody")
        world = self.world
        label = f"{process.name} {name} {_label(args)}"
        if self.out or world.chance(world.weather.refused / 2):
            await asyncio.sleep(world.hop_s())
            world.note("store", label, "unavailable")
            raise LedgerUnavailable("the store took nothing")
        answer: asyncio.Future[Any] = world.loop.create_future()
        forgotten = name == "post" and world.chance(world.weather.unknown)
        if forgotten and world.chance(0.4):
            # It never arrives, and nobody can tell.
            world.loop.outside(world.hop_s(), self._give, answer, None, _unknown(), label)
            return await answer
        self.under_way += 1
        world.loop.outside(world.hop_s(), self._carry_out, answer, process, name, args, kwargs, label, forgotten)
        if forgotten and world.chance(0.5):
            # The sender gives up; the write may land long afterwards.
            world.loop.outside(world.hop_s(), self._give, answer, None, _unknown(), label)
        return await answer

    def _carry_out(
        self,
        answer: asyncio.Future[Any],
        process: Process,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        label: str,
        forgotten: bool,
    ) -> None:
        self.under_way -= 1
        value, error = None, None
        try:
            value = run_now(getattr(self.ledger, name)(*args, **kwargs))
        except InvariantBroken:
            raise
        except GollemError as refusal:
            error = refusal
        if name == "post":
            self.world.note("store", label, error.reason if error else f"applied={value.applied}")
            if value and value.applied:
                self.written_by[args[0].key] = process
        if forgotten:
            value, error = None, _unknown()
        self.world.loop.outside(self.world.hop_s(), self._give, answer, value, error, label)

    def _give(self, answer: asyncio.Future[Any], value: Any, error: GollemError | None, label: str) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(value)
            return
        if isinstance(error, OutcomeUnknown):
            self.world.note("store", label, "unknown")
        answer.set_exception(error)


class _View:
    """Implements `Ledger` for one process."""

    def __init__(self, store: SharedStore, process: Process) -> None:
        self._store = store
        self._process = process

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        def call(*args: Any, **kwargs: Any) -> Awaitable[Any]:
            return self._store.call(self._process, name, args, kwargs)

        return call


def _label(args: tuple[Any, ...]) -> str:
    return " ".join(str(getattr(arg, "key", arg)) for arg in args)


def _unknown() -> OutcomeUnknown:
    return OutcomeUnknown("the store did not answer")
