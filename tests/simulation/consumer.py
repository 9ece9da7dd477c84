"""A user: gets credits, matches, repeats, cancels, reports and mistypes, and tells the auditor what it was told."""

import asyncio
from collections.abc import Mapping

from gollem.errors import GollemError, LedgerUnavailable, OutcomeUnknown
from gollem.exchange import Cancelled, ClientOutcome, Matched, Measurement, Receipt
from gollem.ledger import StatementLine
from gollem.ledger.types import EVERYTHING
from gollem.market import Bid, Policy
from tests.simulation.agent import MODELS, Agent
from tests.simulation.auditor import Auditor
from tests.simulation.network import Lost, Network, NotDelivered
from tests.simulation.node import Node
from tests.simulation.world import Unheard, World

_KEPT = 40
# The promise of these is that nothing was written, so the order may be left.
_UNSURE = (Lost, OutcomeUnknown)


class Consumer:
    def __init__(
        self, world: World, network: Network, auditor: Auditor, agents: Mapping[str, Agent], user: str
    ) -> None:
        self.user = user
        self._world = world
        self._network = network
        self._auditor = auditor
        self._agents = agents
        self._orders: list[tuple[str, Bid]] = []
        self.under_way = 0

    async def run(self) -> None:
        """Act until the steps are used up."""
        await self.grant()
        while self._world.take_step():
            self._auditor.look()
            action = self._world.dice.choices(
                (self.order, self.repeat, self.mistype, self.cancel, self.report, self.grant, self.disturb, self.read),
                (55, 12, 3, 12, 8, 4, 3, 3),
            )[0]
            self.under_way += 1
            self._world.loop.create_task(self._finish(action()))
            await asyncio.sleep(self._world.dice.expovariate(8.0))

    async def _finish(self, action: object) -> None:
        try:
            await action  # type: ignore[misc]
        finally:
            self.under_way -= 1

    # --- actions ----------------------------------------------------------------------------------------------------

    async def grant(self) -> None:
        """Credits, asked for until the answer is certain, sometimes once more."""
        grant_id, atoms = self._world.new_id("g"), self._world.dice.randrange(1, 800 * 10**8)
        deed = self._auditor.deed(f"grant:{grant_id}", "grant", {"user": self.user, "atoms": atoms})

        async def work(node: Node) -> bool:
            return await node.exchange.accounts.grant(grant_id, self.user, atoms)

        for _ in range(self._world.dice.randrange(1, 5)):
            try:
                await self._network.call(self._network.any_node(), f"grant {grant_id} {atoms}", work)
            except (Unheard, GollemError):
                continue
            self._auditor.grant_told(deed)
            if self._world.chance(0.8):
                return

    async def order(self) -> None:
        """A bid, repeated while the answer is unsure, then whatever consumers do with a match."""
        order_id, bid = self._world.new_id("o"), self._bid()
        self._orders = [*self._orders[-_KEPT:], (order_id, bid)]
        matched = await self._match_patiently(order_id, bid, self._world.dice.choice((0, 0, 300, 1_500)))
        if matched is None:
            return
        if self._world.chance(0.85):
            self._present(matched)
        if self._world.chance(0.15):
            await asyncio.sleep(self._world.dice.uniform(0, 1))
            await self._cancel(order_id)
        if self._world.chance(0.5):
            await asyncio.sleep(self._world.dice.uniform(0, 3))
            await self._report(order_id)

    async def repeat(self) -> None:
        """An order of before, again, in the same words."""
        if self._orders:
            order_id, bid = self._world.dice.choice(self._orders)
            matched = await self._match_patiently(order_id, bid, 0)
            if matched is not None and self._world.chance(0.5):
                self._present(matched)

    async def mistype(self) -> None:
        """An order of before with another bid."""
        if self._orders:
            await self._match(self._world.dice.choice(self._orders)[0], self._bid(), 0)

    async def cancel(self) -> None:
        if self._orders:
            await self._cancel(self._world.dice.choice(self._orders)[0])

    async def report(self) -> None:
        if self._orders:
            await self._report(self._world.dice.choice(self._orders)[0])

    async def disturb(self) -> None:
        """A provider settles what is not its own, or takes an ask back."""
        dice = self._world.dice
        agent = self._agents[dice.choice(list(self._agents))]
        try:
            if self._orders and self._world.chance(0.5):
                usage, outcome = self._auditor.any_usage()
                await agent.settle(dice.choice(self._orders)[0], usage, outcome)
            else:
                await agent.deregister()
        except (Unheard, GollemError):
            pass

    async def read(self) -> None:
        """The whole statement, by pages from any node, while it grows."""
        asked_s, limit, cursor = self._world.loop.time(), self._world.dice.randrange(3, 30), ""
        shown: list[tuple[str, int]] = []

        async def work(node: Node) -> list[StatementLine]:
            return await node.exchange.accounts.statement(self.user, False, cursor, limit, EVERYTHING)

        while True:
            try:
                page = await self._network.call(self._network.any_node(), f"statement {self.user} {cursor}", work)
            except (Unheard, GollemError):
                return
            if not page:
                break
            shown += [(line.key, line.amount_atoms) for line in page]
            cursor = page[-1].cursor
        self._auditor.paged(self.user, asked_s, shown)

    # --- calls ------------------------------------------------------------------------------------------------------

    async def _match_patiently(self, order_id: str, bid: Bid, good_for_ms: int) -> Matched | None:
        for _ in range(self._world.dice.randrange(1, 5)):
            matched, sure = await self._match(order_id, bid, good_for_ms)
            if matched or (sure and self._world.chance(0.7)):
                return matched
            await asyncio.sleep(self._world.dice.uniform(0, 0.5))
        return None

    async def _match(self, order_id: str, bid: Bid, good_for_ms: int) -> tuple[Matched | None, bool]:
        auditor, user = self._auditor, self.user
        command = auditor.match_sent(order_id, user, bid)

        async def work(node: Node) -> Matched:
            process = node.process
            auditor.match_entered(process, order_id)
            try:
                matched = await node.exchange.orders.match(user, order_id, bid, good_for_ms)
            except GollemError:
                auditor.match_left(process, node, order_id, answered=False)
                raise
            auditor.match_left(process, node, order_id, answered=True)
            return matched

        try:
            matched: Matched = await self._network.call(self._network.any_node(), f"match {order_id}", work)
        except _UNSURE:
            return None, False
        except (NotDelivered, GollemError) as refused:
            auditor.match_refused(command, refused)
            return None, not isinstance(refused, LedgerUnavailable | NotDelivered)
        auditor.matched(command, matched)
        return matched, True

    async def _cancel(self, order_id: str) -> None:
        self._auditor.cancel_sent(order_id)

        async def work(node: Node) -> Cancelled:
            return await node.exchange.orders.cancel(self.user, order_id)

        try:
            cancelled = await self._network.call(self._network.any_node(), f"cancel {order_id}", work)
        except (Unheard, GollemError):
            return
        self._auditor.cancelled(order_id, cancelled)

    async def _report(self, order_id: str) -> None:
        dice = self._world.dice
        outcome = dice.choice(list(ClientOutcome))
        measurement = Measurement(dice.randrange(1_000, 900_000), dice.choice((None, dice.randrange(10**6, 10**8))))

        if outcome is not ClientOutcome.COMPLETED:
            # Whoever says so does not want the order any more.
            self._auditor.cancel_sent(order_id)

        async def work(node: Node) -> Receipt | None:
            return await node.exchange.reports.report(self.user, order_id, outcome, measurement)

        try:
            receipt = await self._network.call(self._network.any_node(), f"tell {order_id}", work)
        except (Unheard, GollemError):
            return
        self._auditor.told(order_id, receipt)

    def _present(self, matched: Matched) -> None:
        world = self._world
        if not world.chance(world.weather.lost):
            world.loop.outside(world.hop_s(), self._agents[matched.terms.provider_id].present, matched)

    def _bid(self) -> Bid:
        dice = self._world.dice
        return Bid(
            model=dice.choice(MODELS)[0],
            prompt_tokens=dice.randrange(0, 100),
            max_tokens=dice.randrange(1, 200),
            max_price_ticks=dice.choice((None, None, dice.randrange(60_000, 150_000))),
            max_cost_atoms=dice.choice((None, None, dice.randrange(10**9, 500 * 10**8))),
            max_latency_us=dice.choice((None, None, 300_000)),
            exclude_providers=dice.choice(((), (), (dice.choice(list(self._agents)),))),
            policy=dice.choice(list(Policy)),
        )
