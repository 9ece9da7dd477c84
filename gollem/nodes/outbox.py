"""What one partition has to tell the others, and what it must be able to tell again. Pure; times are monotonic
milliseconds.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from gollem.nodes.types import Change, Heard, Placed, Removed

State = TypeVar("State", Placed | Removed, Heard)


class Outbox:
    """Changes not yet sent. Of an ask only the newest state waits, so that a slow link is behind in time, never in
    volume; events are counted ones and wait each for itself, the latest `events_kept` of them."""

    def __init__(self, events_kept: int) -> None:
        self._asks: dict[str, tuple[Placed | Removed, int]] = {}
        self._heard: dict[str, tuple[Heard, int]] = {}
        self._events: deque[Change] = deque(maxlen=events_kept)
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._asks) + len(self._heard) + len(self._events)

    def add(self, change: Change, now_ms: int) -> None:
        match change:
            case Placed() | Removed():
                self._asks[change.ask_key] = change, now_ms
                self._heard.pop(change.ask_key, None)  # it was of the ask before this
            case Heard():
                self._heard[change.ask_key] = change, now_ms
            case _:
                self.dropped += len(self._events) == self._events.maxlen
                self._events.append(change)

    def take(self, limit: int, now_ms: int) -> list[Change]:
        """The next `limit` changes to send, as old as they are: asks before what was heard of them."""
        taken = [aged(change, now_ms - at_ms) for change, at_ms in _pop(self._asks, limit)]
        taken += [aged(change, now_ms - at_ms) for change, at_ms in _pop(self._heard, limit - len(taken))]
        taken += [self._events.popleft() for _ in range(min(limit - len(taken), len(self._events)))]
        return taken


class OwnAsks:
    """The newest state of every ask that this node is the last to have announced. Bounded by the asks of the book."""

    def __init__(self) -> None:
        self._asks: dict[str, tuple[Placed, int]] = {}
        self._heard: dict[str, tuple[Heard, int]] = {}

    def __len__(self) -> int:
        return len(self._asks)

    def announced(self, change: Change, now_ms: int) -> None:
        """This node says so, at this monotonic time."""
        match change:
            case Placed():
                self._asks[change.ask_key] = (change, now_ms)
                self._heard.pop(change.ask_key, None)
            case Heard():
                self._heard[change.ask_key] = (change, now_ms)
            case Removed():
                self._drop(change.ask_key)
            case _:
                pass

    def heard_of(self, change: Change, now_ms: int) -> None:
        """Another node says so. A node that an agent has come to places its ask anew, which counts unless it was said
        before what this one has to say: news may have waited where Redis was away. A report alone takes nothing: it
        may be what a node that stood still passes on late, and looks young."""
        match change:
            case Placed():
                if change.age_ms <= self._age_ms(change.ask_key, now_ms):
                    self._drop(change.ask_key)
            case Removed():
                self._drop(change.ask_key)
            case _:
                pass

    def all(self, now_ms: int) -> Iterator[Change]:
        """Everything, to be told again, as old as it is."""
        for placed, at_ms in list(self._asks.values()):
            yield aged(placed, now_ms - at_ms)
        for heard, at_ms in list(self._heard.values()):
            yield aged(heard, now_ms - at_ms)

    def _age_ms(self, key: str, now_ms: int) -> int:
        """Of the newest that this node has said of it."""
        said = [told for told in (self._asks.get(key), self._heard.get(key)) if told is not None]
        return min((change.age_ms + now_ms - at_ms for change, at_ms in said), default=now_ms)

    def _drop(self, ask_key: str) -> None:
        self._asks.pop(ask_key, None)
        self._heard.pop(ask_key, None)


def aged(change: Change, by_ms: int) -> Change:
    """The same, heard so much later. What happened and is over has no age."""
    return replace(change, age_ms=change.age_ms + by_ms) if isinstance(change, Placed | Heard) else change


def _pop(waiting: dict[str, tuple[State, int]], limit: int) -> list[tuple[State, int]]:
    """The oldest `limit` of them, taken out."""
    return [waiting.pop(key) for key in list(islice(waiting, limit))]
