"""An event loop of virtual time: dice decide which ready callback runs next, and time passes only when all wait.

A callback belongs to the process in whose context it was made; those of a process that has crashed never run. So a
crash takes a node's tasks away as a power cut would, with no `except` or `finally` of theirs.
"""

import asyncio
import contextvars
import heapq
from collections.abc import Callable, Coroutine
from itertools import count
from random import Random
from typing import Any, TypeVar

_T = TypeVar("_T")
_PROCESS: contextvars.ContextVar["Process"] = contextvars.ContextVar("process")
# What is in flight on the wire or in the store belongs to no process, and survives every crash.
_OUTSIDE = contextvars.Context()


class Stuck(Exception):
    """Nothing can run any more, or too much did, and the awaited condition does not hold."""


class Process:
    """What crashes as a whole."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self._context = contextvars.Context()
        self._context.run(_PROCESS.set, self)

    def spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run it as a part of this process."""
        return asyncio.get_running_loop().create_task(work, context=self._context.copy())


class Handle:
    """As much of asyncio's own as is used: a simulation makes a million of them."""

    __slots__ = ("_args", "_callback", "_context", "_when_s", "cancelled", "process")

    def __init__(self, when_s: float, callback: Any, args: Any, context: contextvars.Context | None) -> None:
        self._when_s = when_s
        self._callback = callback
        self._args = args
        self._context = contextvars.copy_context() if context is None else context
        self.process: Process | None = self._context.get(_PROCESS)
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def when(self) -> float:
        return self._when_s

    def run(self) -> None:
        """Raises what the callback lets escape."""
        self._context.run(self._callback, *self._args)


class VirtualLoop(asyncio.AbstractEventLoop):
    """As much of a loop as asyncio's own primitives use."""

    def __init__(self, dice: Random, tolerates: Callable[[BaseException], bool]) -> None:
        """`tolerates` says which failures of tasks are part of the play; any other ends the run."""
        self._tolerates = tolerates
        self._dice = dice
        self._now_s = 0.0
        self._numbers = count()
        self._ready: list[Handle] = []
        self._timers: list[tuple[float, int, Handle]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._burying = False
        self.callbacks = 0
        self.errors: list[BaseException] = []

    # --- what asyncio calls -----------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now_s

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        handle = Handle(self._now_s, callback, args, context)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        handle = Handle(when, callback, args, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        task.add_done_callback(self._review, context=_OUTSIDE)
        self._tasks.append(task)
        if len(self._tasks) > 4_096:
            self._tasks = [task for task in self._tasks if not task.done()]
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        # When a forgotten task is collected depends on the memory, not on the seed: it may not decide anything.
        if "never retrieved" not in context["message"] and not self._burying:
            self.errors.append(context.get("exception") or RuntimeError(context["message"]))

    # --- what the simulation calls ----------------------------------------------------------------------------------

    def outside(self, delay_s: float, callback: Callable[..., object], *args: object) -> Handle:
        """Call later, whoever crashes meanwhile."""
        handle: Handle = self.call_at(self._now_s + delay_s, callback, *args, context=_OUTSIDE)
        return handle

    def run(self, until: Callable[[], bool], max_callbacks: int) -> None:
        """Run until the condition holds. Raises Stuck, and whatever a callback let escape."""
        self._enter()
        try:
            limit = self.callbacks + max_callbacks
            while not until():
                if self.callbacks >= limit:
                    raise Stuck(f"{max_callbacks} callbacks were not enough")
                self._turn()
                if self.errors:
                    raise self.errors[0]
        finally:
            asyncio._set_running_loop(None)

    def bury(self) -> None:
        """End every task that is left, the dead ones too, so that nothing is collected half done."""
        self._burying = True
        self._enter()
        try:
            for _ in range(100):
                left = [task for task in self._tasks if not task.done()]
                for task in left:
                    task.cancel()
                # Whoever waits for a moment before it ends has waited.
                self._ready += [handle for _, _, handle in self._timers if not handle.cancelled]
                self._timers.clear()
                while self._ready:
                    self._run(self._ready.pop(0))
                if not left:
                    return
        finally:
            asyncio._set_running_loop(None)

    def _review(self, task: asyncio.Task[Any]) -> None:
        """Nobody may await a task that failed, and still it must be known."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._tolerates(error) and not self._burying:
            self.errors.append(error)

    def _enter(self) -> None:
        asyncio._set_running_loop(self)

    def _turn(self) -> None:
        if not self._ready:
            self._let_time_pass()
        ready = self._ready
        chosen = int(self._dice.random() * len(ready))
        ready[chosen], ready[-1] = ready[-1], ready[chosen]
        handle = ready.pop()
        if not handle.cancelled and (handle.process is None or handle.process.alive):
            self.callbacks += 1
            self._run(handle)

    def _run(self, handle: Handle) -> None:
        try:
            handle.run()
        except Exception as error:
            self.call_exception_handler({"message": "a callback failed", "exception": error})

    def _let_time_pass(self) -> None:
        while not self._ready:
            if not self._timers:
                raise Stuck("everybody waits, and nothing is on its way")
            when, _, handle = heapq.heappop(self._timers)
            if handle.cancelled:
                continue
            self._now_s = max(self._now_s, when)
            self._ready.append(handle)
        while self._timers and self._timers[0][0] <= self._now_s:
            self._ready.append(heapq.heappop(self._timers)[2])
