"""Reading what is new at the payment provider: all since a mark, which moves once all of it was taken.

Pages come newest first, so that the mark cannot move half-way: a reading that is cut off by its bound goes on with the
next page at the next call; one that is lost with its process starts again at the mark. Readings overlap, because clocks
differ and a list may be behind: whoever takes things takes each of them once.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gollem.clock import Clock
from gollem.ledger import Ledger, Record, records, rules
from gollem.payments.types import Page

T = TypeVar("T")
OLDEST_MS = 30 * 86_400_000  # the payment provider tells no older events
OVERLAP_MS = 15 * 60_000
MAX_PAGES = 64

Read = Callable[[int, str], Awaitable[Page[T]]]  # since when, which page
Take = Callable[[T], Awaitable[bool]]  # whether it was new


@dataclass(frozen=True, slots=True)
class _Reading:
    """One that is under way. `began_ms` becomes the mark."""

    since_ms: int
    began_ms: int
    page: str = ""


class Watermark(Generic[T]):
    """What has been read under `name`. Lives on one event loop; on several servers each reads for itself."""

    def __init__(self, ledger: Ledger, clock: Clock, name: str, read: Read[T], take: Take[T]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._name = name
        self._read = read
        self._take = take
        self._under_way: _Reading | None = None

    @property
    def is_at_end(self) -> bool:
        """Whether the last call has read all there was."""
        return self._under_way is None

    async def catch_up(self) -> int:
        """Read on, at most MAX_PAGES. Returns how many things were new. Raises what reading and taking raise: the
        page is read again the next time."""
        known = await self._ledger.find_record(records.WATERMARK, self._name)
        reading = self._under_way or self._from(known)
        taken = 0
        for _ in range(MAX_PAGES):
            page = await self._read(reading.since_ms, reading.page)
            for item in reversed(page.items):  # the oldest of a page first
                taken += await self._take(item)
            if not page.next:
                self._under_way = None
                await self._move(known, reading.began_ms)
                return taken
            reading = self._under_way = _Reading(reading.since_ms, reading.began_ms, page.next)
        return taken

    def _from(self, known: Record | None) -> _Reading:
        now_ms = self._clock.now_ms()
        mark_ms = known.number("at_ms") - OVERLAP_MS if known else 0
        return _Reading(max(mark_ms, now_ms - OLDEST_MS), now_ms)

    async def _move(self, known: Record | None, at_ms: int) -> None:
        """Never back. Of two servers that move it at once, one does: the other reads a little more the next time."""
        if known is None or at_ms > known.number("at_ms"):
            moved = Record(records.WATERMARK, self._name, "READ", {"at_ms": at_ms})
            await self._ledger.post(rules.noted(known, moved, self._clock.now_ms()))
