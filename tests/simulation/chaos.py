"""What goes wrong by dice until the world heals: crashes, wrong clocks, a store or a Redis that is away or forgets."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tests.simulation.node import Node
from tests.simulation.redis.server import Server
from tests.simulation.store import SharedStore
from tests.simulation.world import CALM, HOUR_MS, World

_Fault = Callable[[], Awaitable[None]]


class Chaos:
    """`redis` is None where nodes do not share their book."""

    def __init__(self, world: World, nodes: Sequence[Node], store: SharedStore, redis: Server | None) -> None:
        self._world = world
        self._nodes = nodes
        self._store = store
        self._redis = redis
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Each kind of fault is likely, rare or absent, as the seed has it; those of Redis meet the others."""
        create_task = self._world.loop.create_task
        self._tasks = [create_task(self._strike([self._crash, self._jump, self._outage]))]
        if self._redis:
            faults = [self._cut_off, self._cut_all, self._flush, self._fail_over, self._restart, self._restart_all]
            self._tasks.append(create_task(self._strike(faults)))

    def heal(self) -> None:
        world = self._world
        for task in self._tasks:
            task.cancel()
        world.note("healing")
        world.weather = CALM
        self._store.out = False
        if self._redis:
            self._redis.is_away = False
        for node in self._nodes:
            node.clock.jump(0)
            if node.link:
                node.link.mend()
            if not node.process.alive:
                node.start()

    async def _strike(self, faults: Sequence[_Fault]) -> None:
        dice = self._world.dice
        weights = [dice.choice((0, 1, 3)) for _ in faults]
        while True:
            await asyncio.sleep(dice.expovariate(1.0))
            await dice.choices([*faults, self._nothing], [*weights, 1 + dice.choice((0, 1, 3))])[0]()

    async def _nothing(self) -> None:
        """A quiet second."""

    # --- nodes and their store --------------------------------------------------------------------------------------

    async def _crash(self) -> None:
        node = self._world.dice.choice(self._nodes)
        if node.is_up:
            node.crash()
            await asyncio.sleep(self._world.dice.uniform(0, 1.5))
            node.start()

    async def _jump(self) -> None:
        world, node = self._world, self._world.dice.choice(self._nodes)
        node.clock.jump(world.dice.choice((0, world.dice.randrange(-5_000, 5_000), -HOUR_MS, HOUR_MS)))
        world.note(node.name, "clock off by", node.clock.skew_ms, "ms")

    async def _outage(self) -> None:
        self._world.note("the store is away")
        self._store.out = True
        await asyncio.sleep(self._world.dice.uniform(0, 1))
        self._store.out = False

    # --- Redis ------------------------------------------------------------------------------------------------------

    async def _cut_off(self) -> None:
        """One node does not reach Redis: it is refused, or hears nothing."""
        world, node = self._world, self._world.dice.choice(self._nodes)
        assert node.link
        node.link.cut(is_silent=world.chance(0.5))
        world.note(node.name, "is cut off from redis")
        await asyncio.sleep(world.dice.uniform(0, 4))
        node.link.mend()

    async def _cut_all(self) -> None:
        redis = self._the_redis()
        self._world.note("redis is away")
        redis.is_away = True
        redis.cut()
        await asyncio.sleep(self._world.dice.uniform(0, 3))
        redis.is_away = False

    async def _flush(self) -> None:
        self._the_redis().flush()

    async def _fail_over(self) -> None:
        """What was acknowledged since the replica began to lag is lost."""
        redis, dice = self._the_redis(), self._world.dice
        redis.lag()
        await asyncio.sleep(dice.uniform(0, 0.5))
        redis.fail_over(dice.choice((0, dice.randrange(200_000))))

    async def _restart(self) -> None:
        self._the_redis().restart()

    async def _restart_all(self) -> None:
        """Redis and every node at once: nobody is left who knows what was lost."""
        self._the_redis().restart()
        for node in self._nodes:
            if node.process.alive:
                node.crash()
                node.start()

    def _the_redis(self) -> Server:
        assert self._redis is not None
        return self._redis
