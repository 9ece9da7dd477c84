"""Death at the n-th call: of a server that dies before, or after, what it asked for took effect."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Killed(BaseException):
    """The server is gone: nothing in it catches this, and nothing of it goes on."""


class Dying:
    """Counts the calls of everything it wraps; at number `dies_at` (from 0) and ever after, everything raises."""

    def __init__(self, dies_at: int, after: bool) -> None:
        self._left = dies_at
        self._after = after
        self._dead = False

    def wrap(self, thing: T) -> T:
        """Looks like `thing`."""
        return _Wrapped(thing, self)  # type: ignore[return-value]

    async def call(self, method: Callable[..., Awaitable[Any]], *given: object, **named: object) -> object:
        dies = self._left == 0
        self._left -= 1
        if self._dead or (dies and not self._after):
            self._dead = True
            raise Killed
        answer = await method(*given, **named)
        if dies or self._dead:
            self._dead = True
            raise Killed
        return answer


class _Wrapped:
    def __init__(self, thing: object, fate: Dying) -> None:
        self._thing = thing
        self._fate = fate

    def __getattr__(self, name: str) -> object:
        method = getattr(self._thing, name)

        async def mortal(*given: object, **named: object) -> object:
            return await self._fate.call(method, *given, **named)

        return mortal
