"""A node's way to Redis: each way may be lost, doubled or late, the whole of it may be cut, silently or not.

What a node sees is the vendor's client, as much of it as `gollem.nodes.redis_client` uses. A command that is on its way
arrives, whatever became of who sent it.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from redis.exceptions import ConnectionError as Cut
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as TooLate

from gollem.nodes.addresses import Address
from tests.simulation.redis.data import WrongCommand
from tests.simulation.redis.server import Server
from tests.simulation.world import World


class Link:
    """Of one node; it outlives the node's processes. `troubled_s` is when it last failed to carry something in time,
    `cut_s` when it was cut, endless if it is not."""

    def __init__(self, world: World, server: Server, name: str) -> None:
        self.name = name
        self.world = world
        self.server = server
        self.is_silent = False
        self.is_refusing = False
        self.troubled_s = float("-inf")
        self.cut_s = float("inf")

    def cut(self, is_silent: bool) -> None:
        """Nothing comes through; unless it is silent, whoever tries is told."""
        self.is_silent, self.is_refusing, self.cut_s = is_silent, not is_silent, self.world.loop.time()

    def mend(self) -> None:
        self.is_silent, self.is_refusing, self.cut_s = False, False, float("inf")

    def connect(self, address: Address, timeout_s: float, connections: int, stack: AsyncExitStack) -> "Client":
        """In the place of `gollem.nodes.redis_client.connect`."""
        return Client(self, timeout_s)

    async def ask(self, work: Callable[[], Any], timeout_s: float) -> Any:
        """The reply. Raises what the vendor's client would."""
        world, answer = self.world, self.world.loop.create_future()
        if self.is_refusing:
            await asyncio.sleep(world.redis_hop_s())
            self.troubled_s = world.loop.time()
            raise Cut("refused")
        for _ in range(2 if world.chance(world.weather.redis_doubled) else 1):
            self._carry(self._serve, work, answer, self.server.generation)
        patience = world.loop.outside(timeout_s, self._give, answer, None, TooLate("no answer"))
        try:
            return await answer
        except asyncio.CancelledError:
            self.troubled_s = world.loop.time()
            raise
        finally:
            patience.cancel()

    def _carry(self, then: Callable[..., None], *arguments: Any) -> None:
        """One way."""
        world = self.world
        if not self.is_silent and not world.chance(world.weather.redis_lost):
            world.loop.outside(world.redis_hop_s(), then, *arguments)

    def _serve(self, work: Callable[[], Any], answer: asyncio.Future[Any], generation: int) -> None:
        """At the server. Nothing comes back over a connection that was cut meanwhile."""
        if self.server.is_away:
            return
        reply, error = None, None
        try:
            reply = work()
        except WrongCommand as refused:
            error = ResponseError(str(refused))
        if generation != self.server.generation:
            reply, error = None, Cut("reset")
        self._carry(self._give, answer, reply, error)

    def _give(self, answer: asyncio.Future[Any], reply: Any, error: RedisError | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(reply)
        else:
            self.troubled_s = self.world.loop.time()
            answer.set_exception(error)


class Client:
    """One of the two that a node has: replies as with `decode_responses`."""

    def __init__(self, link: Link, timeout_s: float) -> None:
        self._link = link
        self._server = link.server
        self._timeout_s = timeout_s

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def function_load(self, code: str, replace: bool) -> None:
        await self._ask(lambda: self._server.load(code))

    async def fcall(self, function: str, count: int, *parts: str | int) -> Any:
        texts = [str(part) for part in parts]
        return await self._ask(lambda: self._server.call(function, texts[:count], texts[count:]))

    async def hscan(self, key: str, cursor: int, count: int) -> tuple[int, dict[str, str]]:
        following, parts = await self._command("HSCAN", key, str(cursor))
        return int(following), _paired(parts)

    async def hgetall(self, key: str) -> dict[str, str]:
        return _paired(await self._command("HGETALL", key))

    async def hdel(self, key: str, field: str) -> int:
        gone: int = await self._command("HDEL", key, field)
        return gone

    async def set(self, key: str, value: str, nx: bool, get: bool) -> str | None:
        before: str | None = await self._command("SET", key, value, "NX", "GET")
        return before

    async def xread(self, streams: dict[str, str], count: int, block: int) -> list[Any]:
        """Waits at the server until something comes, or `block` milliseconds are over."""
        ((key, after),) = streams.items()
        loop, generation = self._link.world.loop, self._server.generation
        until_s = loop.time() + block / 1_000
        while True:
            known, found = await self._ask(lambda: self._server.read(key, after, count))
            if found:
                return [(key, found)]
            await self._server.wait_for_news(known, until_s)
            if loop.time() >= until_s:
                if self._link.is_silent:
                    raise TooLate("no answer")
                return []
            if generation != self._server.generation:
                self._link.troubled_s = loop.time()
                raise Cut("reset")

    async def _command(self, name: str, *arguments: str) -> Any:
        return await self._ask(lambda: self._server.command(name, *arguments))

    async def _ask(self, work: Callable[[], Any]) -> Any:
        return await self._link.ask(work, self._timeout_s)


def _paired(parts: list[str]) -> dict[str, str]:
    return dict(zip(parts[::2], parts[1::2], strict=True))
