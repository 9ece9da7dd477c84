"""One seed of payments: first with faults, then healed, when everything must finish and every book must agree."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gollem.ledger import reconcile
from gollem.ledger.memory import MemoryLedger
from tests.fakes.stripe import FakeStripe
from tests.simulation.payments_auditor import Verdict, under_way
from tests.simulation.payments_people import People
from tests.simulation.payments_server import Server
from tests.simulation.payments_wire import LeapingClock, throw_faults
from tests.simulation.run import Result
from tests.simulation.store import SharedStore
from tests.simulation.world import CALM, World, silence_logs

_CALLBACKS_A_STEP = 40_000
_QUIET_S = 30
_FINISHED_WITHIN = 10  # days


def simulate(seed: int, steps: int) -> Result:
    """The same seed and steps give the same run, in any process."""
    silence_logs()
    logging.getLogger("stripe").setLevel(logging.CRITICAL)
    return PaymentsSimulation(seed, steps).run()


class PaymentsSimulation:
    def __init__(self, seed: int, steps: int) -> None:
        self.world = world = World(seed, steps)
        self.clock = LeapingClock(world)
        self.fake = FakeStripe(self.clock)
        self.store = SharedStore(world, MemoryLedger())
        self.servers = [Server(world, self.store, self.fake, self.clock, name) for name in ("n1", "n2")]
        self.people = People(world, self.store, self.fake, self.clock, self.servers)
        throw_faults(world, self.fake)

    def run(self) -> Result:
        world, error = self.world, ""
        story = self._story()
        with _numbered_runs(world):
            try:
                task = world.loop.create_task(story)
                world.loop.run(task.done, _CALLBACKS_A_STEP * (world.steps + 10))
                task.result()
            except Exception as broken:
                error = f"{type(broken).__name__}: {broken}"
        steps, last, digest = world.steps - world.steps_left, tuple(world.last), world.digest()
        world.loop.bury()
        return Result(world.seed, steps, digest, error, last)

    async def _story(self) -> None:
        world = self.world
        self.people.begin()
        while world.take_step():
            self.people.act()
            await self.people.pass_time()
        world.note("healing")
        world.weather = CALM
        await asyncio.sleep(_QUIET_S)
        for _ in range(_FINISHED_WITHIN):
            await self.people.settle_all()
            if not under_way(self.people):
                break
        world.expect(not under_way(self.people), "not finished:", under_way(self.people))
        Verdict(world, self.fake, self.people).give()


@contextmanager
def _numbered_runs(world: World) -> Iterator[None]:
    """Reconciliation names its runs at random: here by number, so that a seed is one run for ever."""
    at_random = reconcile.token_hex
    reconcile.token_hex = lambda size=None: world.new_id("run")  # type: ignore[assignment]
    try:
        yield
    finally:
        with suppress(AttributeError):
            reconcile.token_hex = at_random
