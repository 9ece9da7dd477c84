"""Money in, money out and the books over one ledger and one fake Stripe, as a server has them."""

from gollem.ledger import Desk, Entry, Ledger, Transaction, records, rules
from gollem.ledger.types import Kind, Leg
from gollem.payments.books import Books
from gollem.payments.gateway import PaymentGateway
from tests.fakes.clock import FakeClock
from tests.fakes.stripe import FakeStripe
from tests.payments.shop import CENT, Shop
from tests.payments.stage import Stage

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


class Office:
    """`gateway` may be another one than the shop's, to see the payment provider otherwise."""

    def __init__(self, ledger: Ledger, gateway: PaymentGateway, clock: FakeClock, stripe: FakeStripe) -> None:
        self.ledger = ledger
        self.gateway = gateway
        self.clock = clock
        self.stripe = stripe
        self.shop = Shop(ledger, gateway, clock, stripe)
        self.stage = Stage(ledger, clock, stripe, gateway)
        self.desk: Desk = self.stage.desk
        self.books = Books(
            ledger,
            gateway,
            self.shop.purchases,
            self.shop.refunds,
            self.shop.disputes,
            self.stage.payouts,
            clock,
        )

    async def match_later(self, later_ms: int = 10 * MINUTE_MS) -> None:
        """When nothing is young any more. Whatever was found is no difference."""
        self.clock.advance_ms(later_ms)
        result = await self.books.match_movements()
        assert result.findings == []

    async def require_agreement(self) -> None:
        """To the cent, told by the payment provider itself and not by what is under test."""
        assert -await self.atoms("A:stripe") == (self.stripe.available_cents() + self.stripe.pending_cents()) * CENT
        result = await self.books.prove_balance()
        assert result is not None
        assert result.findings == []

    async def atoms(self, account: str) -> int:
        return await self.ledger.account_atoms(account)

    async def entry(self, key: str) -> Entry | None:
        return await self.ledger.find_entry(key)

    async def kind_of(self, key: str) -> Kind | None:
        entry = await self.entry(key)
        return entry.kind if entry else None

    async def booked(self, *keys: str) -> list[str]:
        """Those of the keys that are in the journal and moved money."""
        entries = [await self.entry(key) for key in keys]
        return [entry.key for entry in entries if entry and entry.legs]

    async def kept(self) -> dict[str, list[str]]:
        """The movements that are not explained, by their state."""
        found = {
            state: [one.id for one in await self.ledger.records(records.MOVEMENT, state)]
            for state in ("WAITING", "UNMATCHED", "DIFFERENT")
        }
        return {state: names for state, names in found.items() if names}

    async def alerts(self) -> list[str]:
        return sorted(alert.id for alert in await self.ledger.records(records.ALERT, "OPEN"))

    async def breaker(self) -> str:
        found = await self.ledger.find_record(records.BREAKER, records.PAYOUTS)
        return found.state if found else "RUNNING"

    async def plant(self, account: str, atoms: int) -> None:
        """Somebody books what never happened."""
        now_ms = self.clock.now_ms()
        legs = (Leg(account, atoms), Leg("E:adjust", -atoms))
        await self.ledger.post(Transaction(f"planted:{account}:{now_ms}", Kind.ADJUSTMENT, legs, "planted", now_ms))

    async def resolve(self, txn_id: str, account: str) -> None:
        found = await self.ledger.find_record(records.UNMATCHED, txn_id)
        assert found is not None
        await self.ledger.post(rules.unmatched_resolved(found, account, "eve", self.clock.now_ms()))

    def txn(self, kind: str) -> str:
        """The id of the newest of a type."""
        return str([txn["id"] for txn in self.stripe.all("balance_transaction") if txn["type"] == kind][-1])
