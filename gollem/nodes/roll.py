"""The roll of nodes: each tells what it is and how it does, every second or so, and learns Redis's time in return."""

import json

from gollem.config import ConfigError
from gollem.nodes import keys
from gollem.nodes.node import Node
from gollem.nodes.types import NodeInfo, Status

_BEATS_MISSED = 10  # then a node that was killed does not keep others from starting


class Roll:
    """`name` is this node's, `version` its release, `grant_keys` as in `NodeInfo`."""

    def __init__(self, node: Node, name: str, version: str, grant_keys: tuple[str, ...]) -> None:
        self.node = node
        self.name = name
        self.version = version
        self.grant_keys = grant_keys
        self._beat_ms = node.clock.monotonic_ms()

    def own(self, status: Status) -> NodeInfo:
        """This node, by itself alone: the others cannot be asked for, nor ask for it."""
        age_ms = self.node.clock.monotonic_ms() - self._beat_ms
        return NodeInfo(
            name=self.name,
            version=self.version,
            heartbeat_age_ms=age_ms,
            asks=status.asks,
            lag_ms=status.lag_ms,
            epoch=status.epoch,
            refused=status.refused,
            degraded=True,
            grant_keys=self.grant_keys,
        )

    async def beat(self, status: Status) -> None:
        """This node is there. Raises BookUnavailable."""
        told = {
            "version": self.version,
            "asks": status.asks,
            "lag_ms": status.lag_ms,
            "epoch": status.epoch,
            "refused": status.refused,
            "degraded": status.degraded,
            "grant_keys": self.grant_keys,
        }
        asked_ms = self.node.clock.monotonic_ms()
        text, forget_ms = json.dumps(told, separators=(",", ":")), self.node.config.forget_ms
        redis_us = await self.node.client.call("beat", [keys.NODES], [self.name, text, forget_ms])
        self.node.time.told(int(redis_us), asked_ms)
        self._beat_ms = asked_ms

    async def leave(self) -> None:
        """This node goes. Raises BookUnavailable."""
        await self.node.client.remove(keys.NODES, self.name)

    async def read(self) -> list[NodeInfo]:
        """All that beat lately, by name. Raises BookUnavailable."""
        found = await self.node.client.fields(keys.NODES)
        return [self._info(name, text) for name, text in sorted(found.items())]

    async def require_common_keys(self) -> None:
        """A grant of any node has to be good at every agent. Raises ConfigError, BookUnavailable."""
        alive_ms = _BEATS_MISSED * self.node.config.heartbeat_ms
        for other in await self.read():
            if other.heartbeat_age_ms < alive_ms and not _agree(self.grant_keys, other.grant_keys):
                raise ConfigError(
                    f"storage.grant_keys: this node signs grants with {self.grant_keys[0]}, node {other.name} with "
                    f"{other.grant_keys[0]}, and not both know both: give all nodes the same keys"
                )

    def _info(self, name: str, text: str) -> NodeInfo:
        at_ms, _, told = text.partition(" ")
        figures = json.loads(told)
        return NodeInfo(
            name=name,
            version=str(figures.get("version", "")),
            heartbeat_age_ms=self.node.time.age_ms(int(at_ms)),
            asks=int(figures.get("asks", 0)),
            lag_ms=int(figures.get("lag_ms", 0)),
            epoch=int(figures.get("epoch", 0)),
            refused=int(figures.get("refused", 0)),
            degraded=bool(figures.get("degraded", False)),
            grant_keys=tuple(map(str, figures.get("grant_keys", ()))),
        )


def _agree(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    return not ours or not theirs or (ours[0] in theirs and theirs[0] in ours)
