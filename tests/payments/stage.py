"""What tests of payouts share: providers with earnings, an account at the fake Stripe, and the objects under test."""

from gollem.config import PaymentsConfig
from gollem.ledger import Desk, Hold, Ledger, Record, rules
from gollem.payments.attempts import Attempts
from gollem.payments.gateway import PaymentGateway
from gollem.payments.onboarding import Onboarding
from gollem.payments.payouts import Payouts
from tests.fakes.clock import FakeClock
from tests.fakes.stripe import FakeStripe

CENT = 10**9
USD = 100 * CENT
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
DELAY_DAYS = 7
CONFIG = PaymentsConfig(delay_days=DELAY_DAYS, payout_cents=10_000, least_payout_cents=100)


class Stage:
    """One ledger, one Stripe, one clock. `payouts` and `onboarding` may be made anew, as after a restart."""

    def __init__(self, ledger: Ledger, clock: FakeClock, stripe: FakeStripe, gateway: PaymentGateway) -> None:
        self.ledger = ledger
        self.clock = clock
        self.stripe = stripe
        self.gateway = gateway
        self.desk = Desk(ledger, clock, delay_days=DELAY_DAYS, cap_atoms=10**14)
        self.payouts = self.new_payouts()
        self.onboarding = Onboarding(ledger, gateway, self.attempts(), clock, CONFIG)

    def attempts(self) -> Attempts:
        return Attempts(self.ledger, self.clock)

    def new_payouts(self, config: PaymentsConfig = CONFIG) -> Payouts:
        """Of a server that knows nothing yet."""
        return Payouts(self.ledger, self.desk, self.gateway, self.attempts(), self.clock, config)

    async def onboard(self, provider: str = "acme") -> str:
        """The provider completes its onboarding. Returns its account's id."""
        await self.onboarding.start(provider, "US", "https://acme.example/back")
        connected_id = (await self.payee(provider)).text("connected_id")
        self.stripe.verify_account(connected_id)
        await self.onboarding.refresh(connected_id)
        return connected_id

    async def earn(self, atoms: int, provider: str = "acme", order_id: str = "", fee_atoms: int = 0) -> str:
        """One order of today, settled. Returns its id."""
        now_ms = self.clock.now_ms()
        order_id = order_id or f"order-{provider}-{now_ms}"
        total_atoms = atoms + fee_atoms
        await self.ledger.post(rules.grant(f"for-{order_id}", "buyer", total_atoms, now_ms))
        hold = Hold(order_id, "buyer", provider, total_atoms, now_ms, now_ms + 60_000, terms="{}")
        await self.ledger.post(rules.hold(hold, "bid", now_ms))
        await self.ledger.post(rules.settle(hold, total_atoms, fee_atoms, now_ms))
        return order_id

    async def payable(self, atoms: int, provider: str = "acme") -> None:
        """The provider has earned this, and it is due, a week later."""
        await self.earn(atoms, provider)
        self.clock.advance_ms((DELAY_DAYS + 1) * DAY_MS)
        await self.desk.mature_due()

    async def ready(self, atoms: int, provider: str = "acme") -> str:
        """Onboarded, with this payable, and the platform has enough. Returns the account's id."""
        connected_id = await self.onboard(provider)
        await self.payable(atoms, provider)
        self.stripe.top_up(10 * atoms // CENT)
        return connected_id

    async def payee(self, provider: str = "acme") -> Record:
        return await self._record("provider", provider)

    async def payout(self, payout_id: str = "", provider: str = "acme") -> Record:
        """The one with the id, or the provider's last."""
        return await self._record("payout", payout_id or (await self.payee(provider)).text("last_payout"))

    async def count(self, provider: str = "acme") -> int:
        """Of how many payouts the books know."""
        return (await self.payee(provider)).number("payouts")

    async def balances(self, provider: str = "acme") -> dict[str, int]:
        """What the provider's money accounts have, those that have any."""
        payout_id = (await self.payee(provider)).text("last_payout")
        names = [f"P:{provider}", f"A:conn:{provider}", f"L:conn:{provider}", f"A:paid:{provider}", f"DP:{provider}"]
        names += [f"PO:{payout_id}"] if payout_id else []
        found = {name.split(":" + provider)[0]: await self.ledger.account_atoms(name) for name in names}
        return {name.split(":po-")[0]: atoms for name, atoms in found.items() if atoms}

    async def alerts(self) -> list[str]:
        """Ids of all that were raised, each without the payout's id."""
        found = await self.ledger.records("alert", "OPEN")
        return sorted(":".join(part for part in one.id.split(":") if not part.startswith("po-")) for one in found)

    def transfers(self) -> int:
        """How many were made at Stripe."""
        return len(self.stripe.all("transfer"))

    def bank_payouts(self, connected_id: str) -> list[str]:
        """Ids of those made at Stripe for the account, oldest first."""
        return [str(one["id"]) for one in self.stripe.all("payout", connected_id)]

    async def _record(self, kind: str, record_id: str) -> Record:
        found = await self.ledger.find_record(kind, record_id)
        assert found is not None, (kind, record_id)
        return found
