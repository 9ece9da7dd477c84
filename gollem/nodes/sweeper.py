"""Takes asks out of Redis that nobody repeats: their agents have gone, and so has the node that heard them.

Every node does this, a page at a time. No node leads: Redis looks at the age again when it is told to take one out.
"""

from gollem.nodes.keys import PartitionKeys
from gollem.nodes.node import Node


class Sweeper:
    def __init__(self, node: Node) -> None:
        self._node = node
        self._partition = 0
        self._cursor = 0

    async def step(self) -> int:
        """Look at the next page. Returns how many asks went. Raises BookUnavailable."""
        keys = PartitionKeys(self._partition)
        forget_ms = self._node.config.forget_ms
        self._cursor, states = await self._node.client.page(keys.asks, self._cursor)
        if not self._cursor:
            self._partition = (self._partition + 1) % self._node.config.partitions
        old = [key for key, state in states.items() if self._age_ms(state) > forget_ms]
        return int(await self._node.client.call("purge", [keys.asks, keys.heard], [forget_ms, *old])) if old else 0

    def _age_ms(self, state: str) -> int:
        """Since the ask was placed; when it was heard of, the purge looks itself."""
        return self._node.time.age_ms(int(state.partition(" ")[0]))
