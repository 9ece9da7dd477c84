"""Reads one partition: a snapshot first, then every batch after it, and notices when something was missed.

The id of a batch is `epoch-number`, and numbers follow one another. So a batch of another epoch means that the
partition was emptied, and a number left out that the stream was cut short before this node had read it. Another server
in the place of the one before may know less than that did, although its numbers go on: a replica after a failover.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from gollem.errors import BookUnavailable
from gollem.nodes import wire
from gollem.nodes.backoff import Backoff
from gollem.nodes.keys import PartitionKeys
from gollem.nodes.node import Node
from gollem.nodes.outage import Outage
from gollem.nodes.redis_client import Entry
from gollem.nodes.shared_book import Listener
from gollem.nodes.types import Change

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Position:
    """A batch of the stream: all up to it is known here."""

    epoch: int
    number: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.number}"

    def next(self) -> "Position":
        return Position(self.epoch, self.number + 1)

    def follows(self, earlier: "Position") -> bool:
        return self.epoch == earlier.epoch and self.number >= earlier.number


@dataclass(frozen=True, slots=True)
class Head:
    """Where the stream ends, and which run of which server says so."""

    position: Position
    server: str


@dataclass(slots=True)
class Figures:
    """What has come of following. Counts since the start."""

    epoch: int = 0
    lag_ms: int = 0
    passed_over: int = 0
    rebuilt: int = 0


class Follower:
    """`heard_of` gets every change of another node, `may_be_lost` is called when what this one wrote may be gone."""

    def __init__(
        self,
        node: Node,
        keys: PartitionKeys,
        outage: Outage,
        listener: Listener,
        heard_of: Callable[[Change], None],
        may_be_lost: Callable[[], None],
    ) -> None:
        self._node = node
        self._client = node.client
        self._keys = keys
        self._outage = outage
        self._listener = listener
        self._heard_of = heard_of
        self._may_be_lost = may_be_lost
        self._known: Head | None = None  # up to where all is known here; None: nothing is
        self._looked_at_ms = 0
        self.figures = Figures()
        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """For ever."""
        backoff = Backoff(self._node.chance)
        while True:
            try:
                await self._take_up()
                backoff.reset()
                await self._follow()
            except BookUnavailable as error:
                if not self._outage.is_on:
                    _log.warning("partition %d: %s", self._keys.number, error)
                self._outage.failed(self._node.clock.monotonic_ms())
                await backoff.wait()
            except Exception:
                _log.exception("partition %d cannot be followed; it is read anew", self._keys.number)
                self._known = None
                await backoff.wait()

    # --- where to begin ---------------------------------------------------------------------------------------------

    async def _take_up(self) -> None:
        """At the start, and after a connection was lost."""
        if self._known is None:
            await self._rebuild()
        else:
            await self._look_at_head(self._known)
        self._outage.succeeded()
        self.caught_up.set()

    async def _head(self) -> Head:
        epoch, number, server = await self._client.call("head", [self._keys.head])
        self._looked_at_ms = self._node.clock.monotonic_ms()
        return Head(Position(int(epoch), int(number)), server)

    async def _rebuild(self) -> frozenset[str]:
        """Read the snapshot; what is written meanwhile is in the stream, too. Returns the keys of its asks. If it fails
        half way, what was known before is what the next try begins with."""
        head = await self._head()
        keys = await self._read_snapshot(self._keys.asks)
        await self._read_snapshot(self._keys.heard)
        self._known = head
        self.figures.epoch = head.position.epoch
        self.figures.rebuilt += 1
        return frozenset(keys)

    async def _read_snapshot(self, hash_key: str) -> set[str]:
        keys: set[str] = set()
        cursor = 0
        while True:
            cursor, states = await self._client.page(hash_key, cursor)
            keys.update(states)
            self._apply([state.partition(" ")[::2] for state in states.values()])
            if not cursor:
                return keys

    # --- what comes after -------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Batch by batch, until the connection fails. The pause lets several come together."""
        while True:
            assert self._known is not None
            entries = await self._client.news(self._keys.changes, str(self._known.position))
            self._outage.succeeded()
            if not entries:
                self.figures.lag_ms = 0
                await self._look_at_head(self._known)
            elif not self._take(entries, self._known):
                await self._start_over(self._known)
            elif self._is_time_to_look():
                await self._look_at_head(self._known)
            await asyncio.sleep(self._node.config.flush_ms / 1_000)

    def _is_time_to_look(self) -> bool:
        return self._node.clock.monotonic_ms() - self._looked_at_ms >= self._node.config.heartbeat_ms

    def _take(self, entries: list[Entry], known: Head) -> bool:
        """Apply what follows without a gap. False if there was one."""
        texts = []
        position = known.position
        for entry_id, fields in entries:
            if entry_id != str(position.next()):
                break
            position = position.next()
            texts.append((fields["at"], fields["batch"]))
        self._known = Head(position, known.server)
        self._apply(texts)
        return len(texts) == len(entries)

    async def _look_at_head(self, known: Head) -> None:
        """Whether it is still the same stream of the same server."""
        head = await self._head()
        if head.server != known.server:  # connections that lead to the one before go on selling what it knows alone
            await self._client.forget_connections(used=False)
        if head.server != known.server or not head.position.follows(known.position):
            await self._start_over(known)

    async def _start_over(self, old: Head) -> None:
        """From the same server, in the same epoch, only this node has missed something. Otherwise writes of anybody may
        be lost: nothing has gone for certain, and all announce their own again."""
        keys = await self._rebuild()
        new = self._known
        assert new is not None
        if new.server == old.server and new.position.follows(old.position):
            self._listener.retain(self._keys.number, keys)
        else:
            _log.warning("partition %d may have lost what was in it: announcing again", self._keys.number)
            self._may_be_lost()

    def _apply(self, texts: list[tuple[str, str]]) -> None:
        """Pairs of (Redis's time in milliseconds, text), of which own ones are left out."""
        changes: list[Change] = []
        for at_ms, text in texts:
            age_ms = self._node.time.age_ms(int(at_ms))
            batch = wire.decode(text, age_ms)
            self.figures.passed_over += batch.passed_over
            if batch.sender != self._node.sender:
                changes += batch.changes
                self.figures.lag_ms = age_ms
        if changes:
            for change in changes:
                self._heard_of(change)
            self._hand_over(changes)

    def _hand_over(self, changes: list[Change]) -> None:
        """A listener that stumbles must not end the reading."""
        try:
            self._listener.apply(changes)
        except Exception:
            _log.exception("partition %d: %d changes were not applied", self._keys.number, len(changes))
