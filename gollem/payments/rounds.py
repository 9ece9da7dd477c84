"""Going round all records in a state, a bounded page at a time."""

from gollem.clock import Clock
from gollem.ledger import Ledger, Record


class Round:
    """The next `size` records of a kind and state each time; after the last it begins again, `pause_ms` after it last
    began at the earliest. What is missed because it changes meanwhile comes in the next round."""

    def __init__(self, ledger: Ledger, clock: Clock, kind: str, state: str, size: int, pause_ms: int = 0) -> None:
        self._ledger = ledger
        self._clock = clock
        self._kind = kind
        self._state = state
        self._size = size
        self._pause_ms = pause_ms
        self._after = ""
        self._began_ms: int | None = None

    async def page(self) -> list[Record]:
        """Empty while there are none, and during the pause."""
        if not self._after and not self._is_due():
            return []
        found = await self._ledger.records(self._kind, self._state, self._after, self._size)
        self._after = found[-1].id if len(found) == self._size else ""
        return found

    def _is_due(self) -> bool:
        now_ms = self._clock.monotonic_ms()
        if self._began_ms is not None and now_ms - self._began_ms < self._pause_ms:
            return False
        self._began_ms = now_ms
        return True
