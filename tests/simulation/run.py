"""One seed, from the first grant to the verdict: first with faults, then healed, when everything must finish."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gollem.ledger.memory import MemoryLedger
from tests.simulation.agent import Agent
from tests.simulation.agreement import disagreement
from tests.simulation.auditor import Auditor
from tests.simulation.chaos import Chaos
from tests.simulation.consumer import Consumer
from tests.simulation.loop import Stuck
from tests.simulation.network import Network
from tests.simulation.node import NODES, Node
from tests.simulation.redis.link import Link
from tests.simulation.redis.server import Server
from tests.simulation.rooms import Rooms
from tests.simulation.store import SharedStore
from tests.simulation.treasury import Treasury
from tests.simulation.world import HOUR_MS, World, silence_logs

_CALLBACKS_A_STEP = 4_000
_HEALS_WITHIN_S = 120
_FINISHED_WITHIN = 5  # rounds
_SHARING = 0.5  # of the seeds; in the others each node has a book of its own


@dataclass(frozen=True)
class Result:
    """`error` is empty if every promise was kept."""

    seed: int
    steps: int
    digest: str
    error: str
    last: tuple[str, ...]

    def __str__(self) -> str:
        if not self.error:
            return f"seed {self.seed}: {self.steps} steps, digest {self.digest}"
        events = "\n".join(f"  {line}" for line in self.last)
        return f"seed {self.seed} failed at step {self.steps}: {self.error}\nthe last events:\n{events}"


def simulate(seed: int, steps: int) -> Result:
    """The same seed and steps give the same run, in any process."""
    silence_logs()
    return Simulation(seed, steps).run()


class Simulation:
    def __init__(self, seed: int, steps: int) -> None:
        self.world = world = World(seed, steps)
        self.store = SharedStore(world, MemoryLedger())
        self.auditor = auditor = Auditor(world, self.store)
        self.redis = Server(world) if world.chance(_SHARING) else None
        self.nodes = auditor.nodes = [
            Node(world, self.store, auditor, name, Link(world, self.redis, name) if self.redis else None)
            for name in [f"n{number}" for number in range(1, world.dice.randrange(2, 5))]
        ]
        self.chaos = Chaos(world, self.nodes, self.store, self.redis)
        if self.redis:
            auditor.rooms = Rooms(world, self.redis, NODES.partitions, NODES.degraded_ms / 1_000)
        network = Network(world, self.nodes)
        auditor.providers = [f"p{number}" for number in range(1, world.dice.randrange(2, 6))]
        auditor.users = [f"u{number}" for number in range(1, world.dice.randrange(3, 8))]
        self.agents = {name: Agent(world, network, auditor, name) for name in auditor.providers}
        self.treasury = Treasury(world, network, auditor, auditor.users, auditor.providers)
        self.consumers = [Consumer(world, network, auditor, self.agents, user) for user in auditor.users]

    def run(self) -> Result:
        world, error = self.world, ""
        story = self._story()
        try:
            task = world.loop.create_task(story)
            world.loop.run(task.done, _CALLBACKS_A_STEP * (world.steps + 100))
            task.result()
        except Exception as broken:
            error = f"{type(broken).__name__}: {broken}"
        steps, last, digest = world.steps - world.steps_left, tuple(world.last), world.digest()
        world.loop.bury()
        return Result(world.seed, steps, digest, error, last)

    async def _story(self) -> None:
        world = self.world
        for node in self.nodes:
            node.start()
        for agent in self.agents.values():
            world.loop.create_task(agent.run())
        self.chaos.begin()
        await asyncio.gather(self.treasury.run(), *(consumer.run() for consumer in self.consumers))
        self.chaos.heal()
        self.auditor.heal()
        await self._until(self._is_done, "calls under way")
        # Holds that were opened under a clock an hour ahead are overdue now, too.
        for node in self.nodes:
            node.clock.jump(2 * HOUR_MS)
        await self._until(self.auditor.is_settled, "orders open or room claimed")
        if self.redis:
            await self._until(self._is_agreed, "nodes disagree")
        for _ in range(_FINISHED_WITHIN):
            if self.auditor.is_quiet():
                break
            await self.treasury.finish()
        self.world.expect(self.auditor.is_quiet(), "money is still on its way")
        self.auditor.verdict()

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        ends_s = self.world.loop.time() + _HEALS_WITHIN_S
        while not holds():
            self.auditor.look_healed()
            if self.world.loop.time() > ends_s:
                raise Stuck(f"{what} after {_HEALS_WITHIN_S} s without faults: {self._left()}")
            await asyncio.sleep(0.5)

    def _is_done(self) -> bool:
        busy = any(consumer.under_way for consumer in self.consumers) or any(
            agent.unsettled for agent in self.agents.values()
        )
        return not busy and not self.treasury.under_way and not self.store.under_way

    def _is_agreed(self) -> bool:
        return not disagreement(self.nodes, [ask for agent in self.agents.values() for ask in agent.asks])

    def _left(self) -> str:
        """What is not finished."""
        left = [f"open {hold.order_id}" for hold in self.auditor.read("open_holds")]
        for node in self.nodes:
            exchange = node.exchange
            left.append(
                f"{node.name} claims {exchange.floor.next_claims(9)} cancels {exchange.links.next_cancelled(9)}"
            )
        left.append(disagreement(self.nodes, [ask for agent in self.agents.values() for ask in agent.asks]))
        return "; ".join(left)
