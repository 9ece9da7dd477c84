"""One partition of the shared book as this node has it: what it sends, what it reads, whether it is there."""

import asyncio

from gollem.nodes.endings import end
from gollem.nodes.follower import Follower
from gollem.nodes.keys import PartitionKeys
from gollem.nodes.node import Node
from gollem.nodes.outage import Outage
from gollem.nodes.publisher import Publisher
from gollem.nodes.shared_book import Listener
from gollem.nodes.types import Change


class Partition:
    def __init__(self, node: Node, number: int) -> None:
        self._node = node
        self._number = number
        self._keys = PartitionKeys(number)
        self._tasks: list[asyncio.Task[None]] = []
        self.outage = Outage(node.config.claim_timeout_ms, node.config.degraded_ms)
        self.publisher = Publisher(node, self._keys, self.outage)
        self.follower: Follower | None = None

    async def start(self, listener: Listener) -> None:
        """Returns once what others announced before has been applied."""

        def may_be_lost() -> None:
            self.publisher.announce_again()
            listener.restore(self._number)

        def heard_of(change: Change) -> None:
            self.publisher.own.heard_of(change, self._node.clock.monotonic_ms())

        self.follower = Follower(self._node, self._keys, self.outage, listener, heard_of, may_be_lost)
        self._tasks = [asyncio.create_task(work) for work in (self.publisher.run(), self.follower.run())]
        await self.follower.caught_up.wait()

    async def close(self) -> None:
        await end(self._tasks)
