"""The generations under way: as many as there are slots, each of which can be stopped."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from provider_agent.metering import Meter, Outcome, Tokens
from provider_agent.metrics import ServingTimes
from provider_agent.refusals import Refusal


class Generation:
    """One order in service. Its handler's task is the one that entered it."""

    def __init__(self, order_id: str, meter: Meter) -> None:
        self.order_id = order_id
        self.meter = meter
        self.times = ServingTimes()
        # It is to end early: the consumer has cancelled at the exchange, the time is up, or the agent stops.
        self.stopped = False
        # It has ended and is being settled: too late to stop it.
        self.over = False
        # A message to the consumer is on its way out: none can follow before its last byte.
        self.sending = False
        self._task = asyncio.current_task()

    def stop(self) -> None:
        """Make the handler end: it finds `stopped` set."""
        if not self.stopped and not self.over and self._task is not None:
            self.stopped = True
            self._task.cancel()


class Running:
    """Bounded by `slots`; refuses everything once it is draining."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._taken = 0
        self._generations: dict[str, Generation] = {}
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return self._taken

    def get(self, order_id: str) -> Generation | None:
        return self._generations.get(order_id)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """A place for one generation. Raises Refusal: CAPACITY_EXHAUSTED or NOT_SERVING."""
        if self._draining:
            raise Refusal("NOT_SERVING", "this provider is stopping")
        if self._taken >= self._slots:
            raise Refusal("CAPACITY_EXHAUSTED", f"all {self._slots} slots are taken", slots=self._slots)
        self._taken += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._taken -= 1
            if not self._taken:
                self._idle.set()

    @contextmanager
    def generation(self, order_id: str, meter: Meter, most_ms: int) -> Iterator[Generation]:
        """The generation of an order that the journal has let begin, while it lasts; stopped after `most_ms`."""
        generation = self._generations[order_id] = Generation(order_id, meter)
        time_up = asyncio.get_running_loop().call_later(most_ms / 1_000, generation.stop)
        try:
            yield generation
        finally:
            time_up.cancel()
            del self._generations[order_id]

    def delivered(self) -> dict[str, Tokens]:
        """What each has delivered so far, as it would be settled if it broke off now."""
        return {order_id: each.meter.tokens(Outcome.FAILED) for order_id, each in self._generations.items()}

    async def drain(self, timeout_ms: int) -> None:
        """Take no more, and wait until the last has ended, but not longer than `timeout_ms`; then stop them."""
        self._draining = True
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await self._idle.wait()
        except TimeoutError:
            for generation in list(self._generations.values()):
                generation.stop()
