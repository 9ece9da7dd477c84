"""A provider: sells two models, reports to whichever node it has a line to, serves grants once, and settles."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace

from gollem.errors import CallerError, GollemError
from gollem.exchange import Matched, Outcome, Receipt, Usage
from gollem.exchange.asks import Answer, Status
from gollem.market import Ask
from tests.simulation.auditor import Auditor
from tests.simulation.network import Network
from tests.simulation.node import EXCHANGE, PROVIDERS, Node
from tests.simulation.world import Unheard, World

MODELS = (("gpt-4", "h100"), ("gpt-3", "a100"))


@dataclass
class _Line:
    """One connection: the asks that the node knows, and what it was told last."""

    node: Node
    registered: set[str] = field(default_factory=set)


class Agent:
    """`run` lives until the end of the simulation; orders are served beside it."""

    def __init__(self, world: World, network: Network, auditor: Auditor, provider_id: str) -> None:
        self.provider_id = provider_id
        self._world = world
        self._network = network
        self._auditor = auditor
        self._asks = {ask.ask_id: ask for ask in self._make_asks()}
        self._sequence = 0
        self._seen: set[str] = set()
        self._refused: dict[str, str] = {}
        self._stops: dict[str, asyncio.Event] = {}
        self._events: dict[str, dict[str, str]] = {ask_id: {} for ask_id in self._asks}
        self.unsettled = 0

    @property
    def asks(self) -> list[Ask]:
        """What it sells, at its newest prices."""
        return list(self._asks.values())

    async def run(self) -> None:
        """Connect, report until the line breaks, connect elsewhere."""
        while True:
            line = _Line(self._network.any_node())
            try:
                while True:
                    for ask_id in self._asks:
                        await self._speak(line, ask_id)
                    await asyncio.sleep(PROVIDERS.telemetry_interval_ms / 1_000)
                    if not self._world.healing and self._world.chance(0.02):
                        break
            except (Unheard, GollemError):
                pass
            if not self._world.healing and self._world.chance(0.3):
                await asyncio.sleep(self._world.dice.uniform(0, 4))

    def present(self, matched: Matched) -> None:
        """A consumer shows its grant. Served once, and never after it was refused."""
        order_id = matched.order_id
        if order_id in self._seen or order_id in self._refused:
            return
        self._seen.add(order_id)
        self._stops[order_id] = asyncio.Event()
        self._events[matched.terms.ask_id][order_id] = "started"
        self._world.note(self.provider_id, "starts", order_id)
        self._world.loop.create_task(self._serve(matched))

    async def deregister(self) -> None:
        """Take an ask back for a moment; the next report tells that it is unknown, and it is registered again."""
        ask_id = self._world.dice.choice(list(self._asks))
        node = self._network.any_node()

        async def work(node: Node) -> int:
            return node.exchange.asks.deregister(self.provider_id, ask_id)

        await self._network.call(node, f"deregister {self.provider_id}/{ask_id}", work)

    # --- telemetry --------------------------------------------------------------------------------------------------

    async def _speak(self, line: _Line, ask_id: str) -> None:
        # Once nothing goes wrong any more, it says its terms again: a registration that was doubled may have come late.
        if ask_id not in line.registered or (self._world.healing and self._world.chance(0.1)):
            await self._register(line.node, ask_id)
            line.registered.add(ask_id)
        events = dict(self._events[ask_id])
        answer = await self._report(line.node, ask_id, events)
        for order_id in events:
            self._events[ask_id].pop(order_id, None)
        if not answer.known:
            line.registered.discard(ask_id)
        for order_id in answer.cancelled_orders:
            self._cancelled(ask_id, order_id)

    async def _register(self, node: Node, ask_id: str) -> None:
        ask = self._asks[ask_id]

        async def work(node: Node) -> None:
            node.exchange.asks.register(ask, None)

        await self._network.call(node, f"register {ask.key}", work)

    async def _report(self, node: Node, ask_id: str, events: dict[str, str]) -> Answer:
        self._sequence += 1
        status = Status(
            self._sequence,
            price_ticks=self._reprice(ask_id),
            started=[order for order, event in events.items() if event == "started"],
            refused=[order for order, event in events.items() if event == "refused"],
        )

        async def work(node: Node) -> Answer:
            return await node.exchange.asks.report(self.provider_id, ask_id, status)

        answer: Answer = await self._network.call(node, f"report {self.provider_id}/{ask_id}", work)
        return answer

    def _reprice(self, ask_id: str) -> int | None:
        if self._world.healing or not self._world.chance(0.05):
            return None
        ask = self._asks[ask_id]
        price = self._world.dice.randrange(50_000, 150_000)
        completion = price if ask.price_ticks == ask.completion_price_ticks else ask.completion_price_ticks
        self._asks[ask_id] = replace(ask, price_ticks=price, completion_price_ticks=completion)
        self._auditor.priced(self._asks[ask_id])
        return price

    def _cancelled(self, ask_id: str, order_id: str) -> None:
        """An order that has started is stopped and settled; one that has not never will."""
        if order_id in self._seen:
            self._stops[order_id].set()
        else:
            self._refused[order_id] = ask_id
            self._events[ask_id][order_id] = "refused"

    # --- serving ----------------------------------------------------------------------------------------------------

    async def _serve(self, matched: Matched) -> None:
        world, dice, terms = self._world, self._world.dice, matched.terms
        late = world.chance(0.05)
        lasts_s = EXCHANGE.max_order_ms / 1_000 + 1 if late else dice.uniform(0.01, 1.5)
        stop = self._stops[matched.order_id]
        with suppress(TimeoutError):
            async with asyncio.timeout(lasts_s):
                await stop.wait()
        if world.chance(0.05):
            return  # it dies, and nobody settles
        outcome = Outcome.CANCELLED if stop.is_set() else dice.choice((Outcome.COMPLETED,) * 4 + (Outcome.FAILED,))
        # Some claim more than was granted.
        usage = Usage(
            dice.choice((terms.prompt_tokens, dice.randrange(0, terms.prompt_tokens + 1), terms.prompt_tokens + 50)),
            dice.choice((0, dice.randrange(0, terms.max_tokens + 1), terms.max_tokens + 50)),
        )
        await self.settle_until_told(matched.order_id, usage, outcome)
        if world.chance(0.1):
            await self.settle(matched.order_id, replace(usage, completion_tokens=usage.completion_tokens // 2), outcome)

    async def settle_until_told(self, order_id: str, usage: Usage, outcome: Outcome) -> None:
        """Settle, and again on another node, until the answer is certain."""
        self.unsettled += 1
        told = await self.settle(order_id, usage, outcome)
        while not told:
            await asyncio.sleep(self._world.dice.uniform(0.05, 1.0))
            told = await self.settle(order_id, usage, outcome)
        if self._world.chance(0.1):
            await self.settle(order_id, usage, outcome)
        self.unsettled -= 1

    async def settle(self, order_id: str, usage: Usage, outcome: Outcome) -> bool:
        """One try; whether its answer was certain."""
        command = self._auditor.settle_sent(order_id, self.provider_id, usage, outcome)

        async def work(node: Node) -> Receipt:
            return await node.exchange.settlement.settle(self.provider_id, order_id, usage, outcome)

        try:
            receipt = await self._network.call(self._network.any_node(), f"settle {order_id} {usage}", work)
        except CallerError as refused:
            self._auditor.settle_refused(command, refused)
            return True
        except (Unheard, GollemError):
            return False
        self._auditor.settled(command, receipt)
        return True

    def _make_asks(self) -> list[Ask]:
        dice = self._world.dice
        asks = [
            Ask(
                provider_id=self.provider_id,
                ask_id=f"{model}:{gpu}",
                model=model,
                gpu_type=gpu,
                price_ticks=(price := dice.randrange(50_000, 150_000)),
                completion_price_ticks=dice.choice((price, dice.randrange(50_000, 150_000))),
                credit_rate_atoms=0,
                latency_us=dice.randrange(50_000, 400_000),
                tpot_ns=dice.randrange(5_000_000, 20_000_000),
                capacity_tokens=dice.randrange(300, 3_000),
                capacity_slots=dice.randrange(1, 6),
                endpoint="127.0.0.1:9",
            )
            for model, gpu in MODELS
        ]
        for ask in asks:
            self._auditor.priced(ask)
        return asks
