"""Reads one partition: a snapshot first, then every batch after it, and notices when something was missed.

The id of a batch is `epoch-number`, and numbers follow one another. So a batch of another epoch means that the
partition was emptied, and a number left out that the stream was cut short before this node had read it.
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
        self._position: Position | None = None  # None: nothing is known
        self._last: Entry | None = None  # the batch there, once one was read
        self._was_there = False
        self.figures = Figures()
        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """For ever."""
        backoff = Backoff()
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
                self._position = None
                await backoff.wait()

    # --- where to begin ---------------------------------------------------------------------------------------------

    async def _take_up(self) -> None:
        """At the start, and after a connection was lost: behind it may be another server, which may know less."""
        if not await self._is_where_it_was():
            await self._rebuild()
        if self._was_there:
            self._may_be_lost()
        self._was_there = True
        self._outage.succeeded()
        self.caught_up.set()

    async def _is_where_it_was(self) -> bool:
        """Whether the stream still has, in its place, the batch that was read last. What came before is the same
        then, since a replica has all that was written up to some moment."""
        if self._position is None or self._last is None:
            return False
        return await self._client.entry(self._keys.changes, str(self._position)) == self._last

    async def _rebuild(self) -> frozenset[str]:
        """Read the snapshot; what is written meanwhile is in the stream, too. Returns the keys of its asks."""
        self._position = None
        epoch, number, _ = await self._client.call("head", [self._keys.head])
        keys = await self._read_snapshot(self._keys.asks)
        await self._read_snapshot(self._keys.heard)
        self._position, self._last = Position(int(epoch), int(number)), None
        self.figures.epoch = int(epoch)
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
            entries = await self._client.news(self._keys.changes, str(self._position))
            self._outage.succeeded()
            if not entries:
                self.figures.lag_ms = 0
                await self._look_at_head()
            elif not self._take(entries):
                await self._start_over(Position(*map(int, entries[-1][0].split("-"))))
            await asyncio.sleep(self._node.config.flush_ms / 1_000)

    async def _look_at_head(self) -> None:
        """Nothing came: is that because nothing was sent, or because this is not what it was?"""
        assert self._position is not None
        epoch, number, _ = await self._client.call("head", [self._keys.head])
        if int(epoch) != self._position.epoch or int(number) < self._position.number:
            await self._start_over(Position(int(epoch), int(number)))

    def _take(self, entries: list[Entry]) -> bool:
        """Apply what follows without a gap. False if there was one."""
        assert self._position is not None
        texts = []
        whole = True
        for entry_id, fields in entries:
            epoch, number = map(int, entry_id.split("-"))
            if (epoch, number) != (self._position.epoch, self._position.number + 1):
                whole = False
                break
            self._position, self._last = Position(epoch, number), (entry_id, fields)
            texts.append((fields["at"], fields["batch"]))
        self._apply(texts)
        return whole

    async def _start_over(self, found: Position) -> None:
        """In the same epoch only this node has missed something. In another, or where numbers ran back, writes of
        anybody were lost: nothing has gone for certain, and all announce their own again."""
        old = self._position
        keys = await self._rebuild()
        if old is not None and found.epoch == old.epoch and found.number > old.number:
            self._listener.retain(self._keys.number, keys)
        else:
            _log.warning("partition %d has lost what was in it: announcing again", self._keys.number)
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
