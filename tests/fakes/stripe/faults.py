"""What goes wrong on the way to Stripe, in it, and on the way back: planned for a route, or thrown by dice."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Collection
from enum import Enum


class Fault(Enum):
    """What happens to a request."""

    LOST_REQUEST = "the connection breaks before it is read"
    LOST_REPLY = "it is done, and the connection breaks"
    ERROR_BEFORE = "500, it is not done; kept under its key"
    ERROR_AFTER = "500, and it is done; kept under its key"
    RATE_LIMITED = "429, not kept"
    SLOW = "it lies in the works, its key in use, until `release`"
    SILENT = "it is done, and the reply does not come until `release`, and then not either"


ANYWHERE = "*"
# A replay is not done a second time, so these wait for the next request that is.
_OF_EXECUTION = {Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.SLOW}


class Faults:
    """At most one a request. Routes are written as in `POST /v1/transfers/{id}/reversals`.

    A GET whose connection breaks is asked once more by aiohttp itself if that connection had been used before: plan two
    losses for one that is to be noticed."""

    def __init__(self, routes: Collection[str]) -> None:
        self._routes = routes
        self._planned: dict[str, deque[Fault]] = defaultdict(deque)
        self._gate = asyncio.Event()
        self.dice: Callable[[str], Fault | None] = lambda route: None

    def next(self, route: str, fault: Fault, times: int = 1) -> None:
        """What befalls the next requests of the route, or of any (ANYWHERE)."""
        if route != ANYWHERE and route not in self._routes:
            raise ValueError(f"the fake has no {route}")
        self._planned[route].extend([fault] * times)

    @property
    def is_done(self) -> bool:
        """Whether all that was planned has happened."""
        return not any(self._planned.values())

    def take(self, route: str, *, is_replay: bool) -> Fault | None:
        for name in (route, ANYWHERE):
            planned = self._planned[name]
            if planned and not (is_replay and planned[0] in _OF_EXECUTION):
                return planned.popleft()
        return self.dice(route)

    def release(self) -> None:
        """Let go of what is SLOW or SILENT."""
        self._gate.set()
        self._gate = asyncio.Event()

    async def wait(self) -> None:
        await self._gate.wait()
