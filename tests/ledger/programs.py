"""What could happen next in the books, of every type: what begins, and what continues what is there."""

from collections.abc import Callable, Iterator
from functools import partial

from gollem.errors import GollemError
from gollem.ledger import Hold, HoldState, rules
from gollem.ledger.memory import MemoryLedger
from gollem.ledger.types import Record, Transaction
from tests.contracts.samples import CENT, USD

USERS = ("alice", "bob")
PROVIDERS = ("acme", "zeta")
CAP_ATOMS = 500 * USD
START_MS = 1_800_057_500_000  # shortly before a midnight

Build = Callable[[], Transaction]


class Programs:
    """Names new things by a serial number, and looks at the model for old ones. `share` is 0 to 10,000, of amounts."""

    def __init__(self, model: MemoryLedger) -> None:
        self.model = model
        self.now_ms = START_MS
        self._serial = 0

    def name(self) -> str:
        self._serial += 1
        return f"n{self._serial}"

    def beginnings(self, user: str, provider: str, share: int) -> list[Transaction]:
        """One of each type that needs nothing, some of them impossible."""
        name, now_ms, atoms = self.name(), self.now_ms, USD * share // 100 + 1
        cents = atoms // CENT * CENT + CENT
        payable = self.model.balance_atoms(f"P:{provider}")
        available = self.model.balance_atoms(f"U:{user}")
        signed = cents if share % 2 else -cents
        freezes = self.model.record("freezes", user)
        freeze = min(rules.reasons_of(freezes), default=name)
        return list(
            _built(
                lambda: rules.grant(name, user, atoms, now_ms),
                lambda: rules.grant(name, user, 2**62 - 1, now_ms),
                lambda: rules.promo(f"c{share % 3}", user, atoms, now_ms),
                lambda: rules.purchase_created(name, user, min(cents // CENT + 99, 100_000), now_ms),
                lambda: self._hold(name, user, provider, max(1, available * share // 9_000)),
                lambda: self._hold(name, user, provider, max(1, available // 3)),
                lambda: rules.dispute_withdrawn(name, f"txn-{name}", user, cents, CENT, available, freezes, now_ms),
                lambda: rules.user_frozen(name, user, freezes, now_ms),
                lambda: rules.user_unfrozen(freeze, user, freezes, now_ms),
                lambda: rules.provider_registered(provider, "acct_1", True, now_ms),
                lambda: rules.clawback(name, provider, atoms, payable, now_ms, user if share % 2 else ""),
                lambda: rules.adjustment_proposed(name, f"U:{user}", signed, "goodwill", "carol", now_ms),
                lambda: rules.adjustment_proposed(name, f"P:{provider}", signed, "fraud", "carol", now_ms),
                lambda: rules.unmatched(f"txn-{name}", signed, now_ms),
                lambda: rules.noted(None, Record("event", name, "NEW", {"at_ms": now_ms}), now_ms),
                lambda: rules.stripe_fee(f"txn-{name}", cents, now_ms),
                lambda: rules.platform_payout(f"txn-{name}", cents, now_ms),
            )
        )

    def continuations(self, share: int) -> list[Transaction]:
        """All that can follow what is there, as it is now."""
        holds = [hold for hold in self.model._holds.values() if hold.state is HoldState.OPEN]
        builds = [build for hold in holds for build in self._of_hold(hold, share)]
        for record in list(self.model._records.values()):
            builds += self._of_record(record, share)
        builds += self._of_earnings()
        return list(_built(*builds))

    def _hold(self, order_id: str, user: str, provider: str, amount: int) -> Transaction:
        hold = Hold(order_id, user, provider, amount, self.now_ms, self.now_ms + 60_000, "terms", fence=amount % 3)
        return rules.hold(hold, f"bid of {order_id}", self.now_ms)

    def _of_hold(self, hold: Hold, share: int) -> list[Build]:
        usage = hold.rest_atoms * share // 10_000
        now_ms = self.now_ms
        return [
            lambda: rules.partial_settle(hold, usage, usage // 20, now_ms),
            lambda: rules.settle(hold, usage, usage // 20, now_ms, "sold"),
            lambda: rules.settle(hold, hold.rest_atoms, 0, now_ms),
            lambda: rules.void(hold, now_ms, "cancelled"),
            lambda: rules.expire(hold, now_ms),
        ]

    def _of_earnings(self) -> Iterator[Build]:
        for earned in self.model.due("99991231"):
            owed = -self.model.balance_atoms(f"DP:{earned.provider}")
            for part in (0, 1, 2):
                yield partial(rules.mature, earned, owed, 1, self.now_ms, part)

    def _of_record(self, record: Record, share: int) -> list[Build]:
        steps = getattr(self, f"_of_{record.kind}", None)
        return steps(record, share) if steps else []

    def _of_purchase(self, bought: Record, share: int) -> list[Build]:
        owed = -self.model.balance_atoms(f"D:{bought.text('user')}")
        paid = bought.number("amount_atoms") // CENT
        part = (bought.number("amount_atoms") * share // 10_000) // CENT * CENT
        refund_id = self.name()
        return [
            lambda: rules.purchase_intended(bought, f"pi-{bought.id}", self.now_ms),
            lambda: rules.purchase_cancelled(bought, self.now_ms),
            lambda: rules.purchase(bought, f"pi-{bought.id}", paid, "usd", owed, self.now_ms),
            lambda: rules.refund_initiated(refund_id, bought, part, self.now_ms),
        ]

    def _of_refund(self, refund: Record, share: int) -> list[Build]:
        bought = self.model.record("purchase", refund.text("purchase"))
        assert bought is not None
        return [
            lambda: rules.refund_succeeded(refund, f"re-{refund.id}", self.now_ms),
            lambda: rules.refund_failed(refund, bought, f"re-{refund.id}", self.now_ms),
        ]

    def _of_dispute(self, dispute: Record, share: int) -> list[Build]:
        user, txn = dispute.text("user"), f"txn-{dispute.id}-2"
        figures = (dispute.number("amount_atoms"), self.model.balance_atoms(f"U:{user}"))
        owed = -self.model.balance_atoms(f"D:{user}")
        freezes = self.model.record("freezes", user)
        return [
            lambda: rules.dispute_reinstated(dispute, txn, *figures, owed, freezes, self.now_ms),
            lambda: rules.write_off(dispute, "carol", owed, self.now_ms),
        ]

    def _of_provider(self, payee: Record, share: int) -> list[Build]:
        payout_id, payable = self.name(), self.model.balance_atoms(f"P:{payee.id}")
        amount = (payable * share // 10_000) // CENT * CENT
        return [
            lambda: rules.payout_initiated(payout_id, payee, amount, self.now_ms),
            lambda: rules.payout_initiated(payout_id, payee, amount + CENT, self.now_ms),
            lambda: rules.provider_changed(payee, f"acct_{share % 3}", share % 4 != 0, self.now_ms),
        ]

    def _of_payout(self, payout: Record, share: int) -> list[Build]:
        attempt = payout.number("attempt")
        return [
            lambda: rules.payout_transferred(payout, f"tr-{payout.id}", self.now_ms),
            lambda: rules.payout_cancelled(payout, self.now_ms),
            lambda: rules.payout_paid(payout, f"po-{payout.id}", attempt, self.now_ms),
            lambda: rules.payout_failed(payout, f"po-{payout.id}", attempt, self.now_ms),
            lambda: rules.payout_reversed(payout, f"trr-{payout.id}", self.now_ms),
        ]

    def _of_adjustment(self, proposal: Record, share: int) -> list[Build]:
        today = next((one for one in self.model._records.values() if one.kind == "adjusted_day"), None)
        return [lambda: rules.adjustment_approved(proposal, "dave", today, CAP_ATOMS, START_MS)]

    def _of_event(self, event: Record, share: int) -> list[Build]:
        state = ("NEW", "DONE", "DEAD")[share % 3]
        return [lambda: rules.noted(event, Record("event", event.id, state, {"attempts": share}), self.now_ms)]

    def _of_unmatched(self, movement: Record, share: int) -> list[Build]:
        account = ("U:bob", "P:zeta", "X:bad_debt")[share % 3]
        return [lambda: rules.unmatched_resolved(movement, account, "carol", self.now_ms)]


def _built(*builds: Build) -> Iterator[Transaction]:
    """Some builders refuse what makes no sense now."""
    for build in builds:
        try:
            yield build()
        except GollemError:
            continue
