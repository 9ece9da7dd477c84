"""The roll of nodes: each tells what it is and how it does, every second or so, and learns Redis's time in return."""

import json
from collections.abc import Mapping
from typing import Any

from gollem.config import ConfigError
from gollem.nodes import keys
from gollem.nodes.node import Node
from gollem.nodes.types import NodeInfo, Status

FORM = 1  # what means something else takes another number; a field may be added under the same
_BEATS_MISSED = 10  # then a node that was killed does not keep others from starting


class Roll:
    """`name` is this node's, `version` its release, `grant_keys` as in `NodeInfo`. `ledger` tells its ledger from
    others; empty: it is not compared."""

    def __init__(self, node: Node, name: str, version: str, grant_keys: tuple[str, ...], ledger: str = "") -> None:
        self.node = node
        self.name = name
        self.version = version
        self.grant_keys = grant_keys
        self.ledger = ledger
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
            "form": FORM,
            "version": self.version,
            "asks": status.asks,
            "lag_ms": status.lag_ms,
            "epoch": status.epoch,
            "refused": status.refused,
            "degraded": status.degraded,
            "grant_keys": self.grant_keys,
            "ledger": self.ledger,
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
        return [self._info(name, at_ms, told) for name, at_ms, told in await self._told()]

    async def require_agreement(self) -> None:
        """A grant of any node has to be good at every agent, and an order's hold be found by every node. Raises
        ConfigError, BookUnavailable."""
        alive_ms = _BEATS_MISSED * self.node.config.heartbeat_ms
        for name, at_ms, told in await self._told():
            other = self._info(name, at_ms, told)
            if other.heartbeat_age_ms >= alive_ms:
                continue
            theirs = str(told.get("ledger", ""))
            if self.ledger and theirs and self.ledger != theirs:
                raise ConfigError(
                    f"storage.ledger: this node's is {self.ledger}, node {name} has {theirs}: give all nodes the same"
                )
            if not _agree(self.grant_keys, other.grant_keys):
                raise ConfigError(
                    f"storage.grant_keys: this node signs grants with {self.grant_keys[0]}, node {other.name} with "
                    f"{other.grant_keys[0]}, and not both know both: give all nodes the same keys"
                )

    async def _told(self) -> list[tuple[str, int, Mapping[str, Any]]]:
        """Name, Redis's time in milliseconds and figures of each, by name, of those in a form that is known here."""
        found = await self.node.client.fields(keys.NODES)
        read = ((name, *_read(text)) for name, text in sorted(found.items()))
        return [(name, at_ms, told) for name, at_ms, told in read if told.get("form", FORM) == FORM]

    def _info(self, name: str, at_ms: int, figures: Mapping[str, Any]) -> NodeInfo:
        return NodeInfo(
            name=name,
            version=str(figures.get("version", "")),
            heartbeat_age_ms=self.node.time.age_ms(at_ms),
            asks=int(figures.get("asks", 0)),
            lag_ms=int(figures.get("lag_ms", 0)),
            epoch=int(figures.get("epoch", 0)),
            refused=int(figures.get("refused", 0)),
            degraded=bool(figures.get("degraded", False)),
            grant_keys=tuple(map(str, figures.get("grant_keys", ()))),
        )


def _read(text: str) -> tuple[int, Mapping[str, Any]]:
    at_ms, _, told = text.partition(" ")
    return int(at_ms), json.loads(told)


def _agree(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    return not ours or not theirs or (ours[0] in theirs and theirs[0] in ours)
