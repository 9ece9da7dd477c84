"""One server's payments: every room over the shared ledger and the wire to Stripe. A crash takes all of it."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from gollem.ledger import Desk
from gollem.payments.attempts import Attempts
from gollem.payments.books import Books
from gollem.payments.disputes import Disputes
from gollem.payments.handlers import money_in
from gollem.payments.inbox import Inbox
from gollem.payments.onboarding import Onboarding
from gollem.payments.payouts import Payouts
from gollem.payments.purchases import Purchases
from gollem.payments.refunds import Refunds
from gollem.payments.types import Event
from tests.fakes.stripe import FakeStripe
from tests.simulation.loop import Process
from tests.simulation.payments_wire import LeapingClock, Wire, config_of, gateway_over
from tests.simulation.store import SharedStore
from tests.simulation.world import World

_CAP_ATOMS = 10**14


class Server:
    """`start` after each crash. Nothing of what it knew survives."""

    def __init__(self, world: World, store: SharedStore, fake: FakeStripe, clock: LeapingClock, name: str) -> None:
        self._world = world
        self._store = store
        self._fake = fake
        self._clock = clock
        self.name = name
        self.start()

    def start(self) -> None:
        fake, clock = self._fake, self._clock
        self.process = Process(self.name)
        self._busy: set[asyncio.Task[Any]] = set()
        ledger = self._store.seen_by(self.process)
        gateway, config = gateway_over(Wire(self._world, fake), fake, clock), config_of(fake)
        attempts = Attempts(ledger, clock)
        desk = Desk(ledger, clock, delay_days=config.delay_days, cap_atoms=_CAP_ATOMS)
        self.purchases = Purchases(ledger, desk, gateway, attempts, clock, config)
        self.refunds = Refunds(ledger, desk, gateway, attempts, clock)
        self.disputes = Disputes(ledger, desk, gateway, self.purchases, clock)
        self.onboarding = Onboarding(ledger, gateway, attempts, clock, config)
        self.payouts = Payouts(ledger, desk, gateway, attempts, clock, config)
        self.books = Books(ledger, gateway, self.purchases, self.refunds, self.disputes, self.payouts, clock)
        handlers = money_in(self.purchases, self.refunds, self.disputes)
        self.inbox = Inbox(ledger, gateway, {**handlers, **self._money_out()}, clock)
        # All that comes round by itself.
        self.rounds: list[Callable[[], Awaitable[object]]] = [
            self.inbox.work,
            self.inbox.poll,
            self.purchases.sweep,
            self.refunds.sweep,
            self.disputes.sweep,
            self.onboarding.sweep,
            self.payouts.look,
            self.books.match_movements,
            self.books.prove_balance,
            self.books.prove_connected,
        ]

    def crash(self) -> None:
        self._world.note(self.name, "crashes")
        self.process.alive = False
        for task in self._busy:
            work = task.get_coro()
            if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()  # runs nothing of it, and nobody is warned of it

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = self.process.spawn(work)
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)
        return task

    async def be_idle(self) -> None:
        """Wait until nothing that it does is under way."""
        if self._busy:
            await asyncio.wait(self._busy)

    def _money_out(self) -> dict[str, Callable[[Event], Awaitable[None]]]:
        async def account(event: Event) -> None:
            await self.onboarding.refresh(event.object_id)

        async def transfer(event: Event) -> None:
            await self.payouts.refresh_transfer(event.object_id)

        async def bank_payout(event: Event) -> None:
            if event.connected_id:
                await self.payouts.refresh(event.connected_id, event.object_id)

        return {"account.updated": account, "transfer.": transfer, "payout.": bank_payout}
