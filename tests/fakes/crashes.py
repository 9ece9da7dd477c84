"""A process that dies at its n-th call to what lies outside of it: before the call took effect, or after it."""

import os
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from gollem.ledger import Ledger
from gollem.ledger.dynamodb.ledger import DynamoDBLedger

T = TypeVar("T")


def stride(ledger: Ledger) -> int:
    """Every await of a story is tried on the model and on SQLite; on DynamoDB Local, which is slow, every eleventh,
    unless EVERY_AWAIT is in the environment."""
    return 11 if isinstance(ledger, DynamoDBLedger) and "EVERY_AWAIT" not in os.environ else 1


class CrashError(BaseException):
    """Not to be caught by anything that handles errors: nothing runs any more."""


class Fuse:
    """Counts the calls of all that it wraps, and blows at `at` (0 is the first)."""

    def __init__(self, at: int, *, after: bool) -> None:
        self._at = at
        self._after = after
        self.calls = 0

    @property
    def is_blown(self) -> bool:
        return self.calls > self._at

    def wrap(self, thing: T) -> T:
        return cast(T, _Wrapped(thing, self))

    async def run(self, call: Any, *args: Any, **named: Any) -> Any:
        """Once it is blown, nothing is called any more: the process is dead."""
        number, self.calls = self.calls, self.calls + 1
        if number > self._at or (number == self._at and not self._after):
            raise CrashError
        result = await call(*args, **named)
        if number == self._at:
            raise CrashError
        return result


class _Wrapped:
    def __init__(self, thing: object, fuse: Fuse) -> None:
        self._thing = thing
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._thing, name)
        if not iscoroutinefunction(member):
            return member
        fuse = self._fuse

        async def call(*args: Any, **named: Any) -> Any:
            return await fuse.run(member, *args, **named)

        return call
