"""Sends what one partition has to tell: collected for a moment, then as one batch, until Redis has taken it."""

import asyncio
import logging
from collections.abc import Sequence

from gollem.errors import BookUnavailable
from gollem.nodes import wire
from gollem.nodes.backoff import Backoff
from gollem.nodes.keys import PartitionKeys
from gollem.nodes.node import Node
from gollem.nodes.outage import Outage
from gollem.nodes.outbox import Outbox, OwnAsks, aged
from gollem.nodes.types import Change, Heard, Placed, Removed

_log = logging.getLogger(__name__)
_BATCH = 512
# Longer than any batch is tried to be sent again.
_NUMBER_KEPT_MS = 3_600_000


class Publisher:
    """One batch after the other, each with a number, so that one whose answer was lost is not taken twice."""

    def __init__(self, node: Node, keys: PartitionKeys, outage: Outage) -> None:
        self._node = node
        self._keys = (keys.head, keys.asks, keys.heard, keys.changes, keys.sent_by(node.sender))
        self._outage = outage
        self._outbox = Outbox(node.config.max_events)
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._number = 0
        self._sending: list[Change] = []
        self.own = OwnAsks()

    @property
    def waiting(self) -> int:
        return len(self._outbox) + len(self._sending)

    @property
    def dropped(self) -> int:
        return self._outbox.dropped

    def add(self, change: Change) -> None:
        now_ms = self._node.clock.monotonic_ms()
        self.own.announced(change, now_ms)
        self._send(change, now_ms)

    def announce_again(self) -> None:
        """Everything that is this node's own, as if it were new."""
        now_ms = self._node.clock.monotonic_ms()
        for change in self.own.all(now_ms):
            self._send(change, now_ms)

    async def wait_idle(self) -> None:
        """Until nothing waits to be sent."""
        await self._idle.wait()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._work.wait()
            await asyncio.sleep(self._node.config.flush_ms / 1_000)
            self._work.clear()
            while len(self._outbox):
                self._sending = self._outbox.take(_BATCH, self._node.clock.monotonic_ms())
                try:
                    await self._deliver(self._sending)
                except Exception:  # a bug in some change must not silence the node
                    _log.exception("%d changes could not be sent", len(self._sending))
                self._sending = []
            if not self._work.is_set():
                self._idle.set()

    def _send(self, change: Change, now_ms: int) -> None:
        self._outbox.add(change, now_ms)
        self._work.set()
        self._idle.clear()

    async def _deliver(self, changes: Sequence[Change]) -> None:
        """Until it is taken. What comes meanwhile waits in the outbox, which is bounded."""
        self._number += 1
        config, clock, backoff = self._node.config, self._node.clock, Backoff(self._node.chance)
        began_ms = clock.monotonic_ms()
        while True:
            older = [aged(change, clock.monotonic_ms() - began_ms) for change in changes]
            batch = _batch(self._node.sender, older)
            arguments = [self._number, _NUMBER_KEPT_MS, config.stream_length, *batch]
            try:
                await self._node.client.call("publish", self._keys, arguments)
            except BookUnavailable:
                self._outage.failed(clock.monotonic_ms())
                await backoff.wait()
            else:
                return


def _batch(sender: str, changes: Sequence[Change]) -> list[str | int]:
    """The text for the stream, then the part of the snapshot that it changes, as `publish` takes them."""
    placed: list[str] = []
    heard: list[str] = []
    removed: list[str] = []
    texts = []
    for change in changes:
        text = wire.encode(change)
        texts.append(text)
        match change:
            case Placed():
                placed += (change.ask_key, wire.batch(sender, [text]))
            case Heard():
                heard += (change.ask_key, wire.batch(sender, [text]))
            case Removed():
                removed.append(change.ask_key)
            case _:
                pass
    return [wire.batch(sender, texts), len(placed) // 2, *placed, len(heard) // 2, *heard, *removed]
