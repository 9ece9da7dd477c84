"""All of money in over one ledger and one payment provider, as a server has it; and what people do with it."""

from typing import cast

import pytest

from gollem.config import PaymentsConfig
from gollem.ledger import Desk, Hold, Ledger, Record, records, rules
from gollem.payments.attempts import Attempts
from gollem.payments.disputes import Disputes
from gollem.payments.gateway import PaymentGateway
from gollem.payments.handlers import money_in
from gollem.payments.inbox import Inbox
from gollem.payments.purchases import Created, Purchases, stored_id
from gollem.payments.refunds import Refunds
from gollem.payments.top_ups import TopUps
from tests.contracts.backends import BACKENDS
from tests.fakes.clock import FakeClock
from tests.fakes.stripe import FakeStripe

# For what depends on how a ledger behaves: crashes, many at once, order and pages, and a story of each kind. Others
# are tried on DynamoDB only where EVERY_AWAIT is in the environment: what each of its transactions does, contracts say.
ON_EVERY_LEDGER = pytest.mark.parametrize("ledger", list(BACKENDS), indirect=True)
# For what is decided before any ledger is asked.
ON_ONE_LEDGER = pytest.mark.parametrize("ledger", ["model"], indirect=True)

CENT = 10**9
USD = 100 * CENT
MINUTE_MS = 60_000
DAY_MS = 86_400_000


class Shop:
    """One process: keeps nothing that its ledger does not."""

    def __init__(self, ledger: Ledger, gateway: PaymentGateway, clock: FakeClock, stripe: FakeStripe) -> None:
        self.ledger = ledger
        self.gateway = gateway
        self.clock = clock
        self.stripe = stripe
        self.desk = Desk(ledger, clock, delay_days=7, cap_atoms=1_000 * USD)
        self.attempts = Attempts(ledger, clock)
        self.purchases = Purchases(ledger, self.desk, gateway, self.attempts, clock, PaymentsConfig())
        self.refunds = Refunds(ledger, self.desk, gateway, self.attempts, clock)
        self.disputes = Disputes(ledger, self.desk, gateway, self.purchases, clock)
        self.top_ups = TopUps(ledger, gateway, self.attempts, self.purchases, clock)
        self.inbox = Inbox(ledger, gateway, money_in(self.purchases, self.refunds, self.disputes), clock)

    def with_gateway(self, **members: object) -> "Shop":
        """Another server, whose payment provider has these members instead."""
        return Shop(self.ledger, changed_gateway(self.gateway, **members), self.clock, self.stripe)

    def with_ledger(self, **members: object) -> "Shop":
        """Another server, whose ledger has these members instead."""
        ledger = cast(Ledger, _Changed(self.ledger, members))
        return Shop(ledger, self.gateway, self.clock, self.stripe)

    async def tell(self) -> None:
        """What Stripe has to tell is stored."""
        for raw, signature in self.stripe.webhooks.take():
            await self.inbox.receive(raw, signature)

    async def catch_up(self) -> None:
        """What Stripe has to tell is stored and handled."""
        await self.tell()
        while await self.inbox.work():
            pass

    async def buy(self, cents: int = 2_500, purchase_id: str = "buy-1", user: str = "alice", **more: bool) -> Created:
        """A purchase from its creation to its credits."""
        created = await self.purchases.create(user, purchase_id, cents, **more)
        self.stripe.pay(created.purchase.text("payment_id"))
        await self.catch_up()
        return created

    async def spend(self, atoms: int, user: str = "alice", order_id: str = "spent") -> None:
        """The credits go to a provider."""
        if not atoms:
            return
        now_ms = self.clock.now_ms()
        hold = Hold(order_id, user, "acme", atoms, now_ms, now_ms + MINUTE_MS, terms="")
        await self.ledger.post(rules.hold(hold, "of-the-bid", now_ms))
        await self.ledger.post(rules.settle(hold, atoms, 0, now_ms))

    async def purchase(self, purchase_id: str = "buy-1", user: str = "alice") -> Record:
        found = await self.ledger.find_record(records.PURCHASE, stored_id(user, purchase_id))
        assert found is not None
        return found

    async def available(self, user: str = "alice") -> int:
        return (await self.ledger.balance(user)).available_atoms

    async def alerts(self) -> list[str]:
        return [alert.id for alert in await self.ledger.records(records.ALERT, "OPEN")]

    def payments(self) -> list[str]:
        """Every payment at Stripe, oldest first."""
        return [one["id"] for one in self.stripe.all("payment_intent")]


class _Changed:
    def __init__(self, thing: object, members: dict[str, object]) -> None:
        self._thing = thing
        self._members = members

    def __getattr__(self, name: str) -> object:
        return self._members[name] if name in self._members else getattr(self._thing, name)


def changed_gateway(gateway: PaymentGateway, **members: object) -> PaymentGateway:
    """The same, with these members instead."""
    return cast(PaymentGateway, _Changed(gateway, members))
