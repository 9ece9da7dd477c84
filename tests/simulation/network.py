"""Calls from outside to a node: each way may be lost, doubled or late, and the node may crash in between."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gollem.errors import GollemError, InvariantBroken, OutcomeUnknown
from tests.simulation.node import Node
from tests.simulation.world import Unheard, World

_PATIENCE_S = 6.0


class Lost(Unheard):
    """No answer came: it may or may not have happened."""


class NotDelivered(Unheard):
    """The node was not there: nothing happened."""


class Network:
    def __init__(self, world: World, nodes: list[Node]) -> None:
        self._world = world
        self._nodes = nodes

    def any_node(self) -> Node:
        return self._world.dice.choice(self._nodes)

    async def call(self, node: Node, label: str, work: Callable[[Node], Awaitable[Any]]) -> Any:
        """The node's answer. Raises what it raised, Lost, or NotDelivered."""
        world = self._world
        copies = 2 if world.chance(world.weather.doubled) else 1
        call = _Call(world, node, label, work, copies)
        for _ in range(copies):
            if not world.chance(world.weather.lost):
                world.loop.outside(world.hop_s(), call.deliver)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await call.answer
        except TimeoutError:
            world.note("call", label, "no answer")
            raise Lost(label) from None


class _Call:
    """One call, however often it is delivered: any success is its answer, else the least sure refusal."""

    def __init__(
        self, world: World, node: Node, label: str, work: Callable[[Node], Awaitable[Any]], copies: int
    ) -> None:
        self.answer: asyncio.Future[Any] = world.loop.create_future()
        self._world = world
        self._node = node
        self._label = label
        self._work = work
        self._open = copies
        self._unsure: Exception | None = None

    def deliver(self) -> None:
        if self._node.is_up:
            self._node.process.spawn(self._serve())
        else:
            self._reply(None, NotDelivered(self._label))

    async def _serve(self) -> None:
        value, error = None, None
        world, node = self._world, self._node
        name = node.process.name
        node.busy += 1
        try:
            value = await self._work(node)
        except InvariantBroken:
            raise
        except GollemError as refused:
            error = refused
        node.busy -= 1
        world.note(name, self._label, error.reason if error else "ok")
        if not world.chance(world.weather.lost):
            world.loop.outside(world.hop_s(), self._reply, value, error)

    def _reply(self, value: Any, error: Exception | None) -> None:
        self._open -= 1
        if self.answer.done():
            return
        if isinstance(error, OutcomeUnknown):
            self._unsure = error
        if error is None:
            self.answer.set_result(value)
        elif self._open == 0:
            self.answer.set_exception(self._unsure or error)
