"""Reckons what must be in the books from what Stripe did, takes nothing from the code under test, and compares."""

from collections import Counter
from typing import Any

from gollem.ledger import records
from tests.fakes.stripe import FakeStripe
from tests.simulation.payments_people import CENT, People
from tests.simulation.payments_wire import PAYOUT_CENTS
from tests.simulation.world import World

_UNDER_WAY = {
    records.PURCHASE: ("CREATED",),
    records.REFUND: ("INITIATED",),
    records.PAYOUT: ("INITIATED", "TRANSFERRED", "FAILED"),
    records.DISPUTE: ("WITHDRAWN",),
    records.INQUIRY: ("OPEN",),
    records.MOVEMENT: ("WAITING", "UNMATCHED", "DIFFERENT"),
    records.UNMATCHED: ("OPEN",),
    records.EVENT: ("NEW", "DEAD"),
}


def under_way(people: People) -> list[str]:
    """What is not finished."""
    left = [
        f"{kind} {record.id} {state}"
        for kind, states in _UNDER_WAY.items()
        for state in states
        for record in people.read("records", kind, state)
    ]
    for provider in people.providers:
        earned_atoms = people.read("provider_balance", provider).earned_atoms
        if people.read("find_record", records.PROVIDER, provider) and earned_atoms >= PAYOUT_CENTS * CENT:
            left.append(f"{provider} has earned {earned_atoms}")
    return left


class Verdict:
    def __init__(self, world: World, fake: FakeStripe, people: People) -> None:
        self._world = world
        self._fake = fake
        self._people = people

    def give(self) -> None:
        """Raises Found for the first promise that was broken."""
        self._expect(self._people.read("audit").findings, [], "the audit of the ledger")
        self._expect(self._atoms("S:unmatched"), 0, "S:unmatched")
        self._expect(-self._atoms("A:stripe"), self._balance(""), "A:stripe")
        self._once()
        self._purchases()
        self._users()
        self._providers()
        breaker = self._people.read("find_record", records.BREAKER, records.PAYOUTS)
        self._expect(breaker, None, "the breaker of payouts")

    def _once(self) -> None:
        """What was asked for once was done once."""
        for kind, name in (("payment_intent", "purchase_id"), ("refund", "refund_id")):
            done = Counter(one["metadata"].get(name) for one in self._fake.all(kind))
            self._expect([each for each, times in done.items() if each and times > 1], [], f"{kind} made twice")
        done = Counter(one["transfer_group"] for one in self._fake.all("transfer"))
        self._expect([each for each, times in done.items() if times > 1], [], "transfers made twice")
        for account in self._fake.all("account"):
            tries = [str(one["metadata"]) for one in self._fake.all("payout", account["id"])]
            self._expect(len(tries), len(set(tries)), "bank payouts made twice")

    def _purchases(self) -> None:
        for payment in self._fake.all("payment_intent"):
            entry = self._people.read("find_entry", f"purchase:{payment['id']}")
            is_paid = payment["status"] == "succeeded"
            self._expect(entry is not None, is_paid, f"{payment['id']} is {payment['status']}: its credits")
            if entry:
                moved = {leg.account: leg.amount_atoms for leg in entry.legs}
                self._expect(-moved["A:stripe"], payment["amount"] * CENT, f"credits of {payment['id']}")

    def _users(self) -> None:
        """All together, because a debt that is written off is the platform's."""
        kept = sum(self._atoms(f"{kind}:{user}") for kind in "UD" for user in self._people.users)
        paid = sum(one["amount"] for one in self._fake.all("payment_intent") if one["status"] == "succeeded")
        ours = [one for one in self._fake.all("refund") if one["metadata"].get("refund_id")]
        refunded = sum(one["amount"] for one in ours if one["status"] == "succeeded")
        disputed = sum(txn["amount"] for one in self._fake.all("dispute") for txn in one["balance_transactions"])
        due = (paid - refunded + disputed) * CENT - sum(self._people.spent.values())
        self._expect(kept + self._atoms("X:bad_debt"), due, "what users have")

    def _providers(self) -> None:
        for provider in self._people.providers:
            payee = self._people.read("find_record", records.PROVIDER, provider)
            connected_id = payee.text("connected_id") if payee else ""
            there = self._balance(connected_id) if payee else 0
            sent = [one for one in self._fake.all("transfer") if one["destination"] == connected_id]
            arrived = sum(one["amount"] - one["amount_reversed"] for one in sent) * CENT
            paid = [one["amount"] for one in self._bank_payouts(connected_id) if one["status"] == "paid"]
            self._expect(-self._atoms(f"A:conn:{provider}"), there, f"A:conn:{provider}")
            self._expect(-self._atoms(f"A:paid:{provider}"), sum(paid) * CENT, f"A:paid:{provider}")
            self._expect(self._atoms(f"L:conn:{provider}"), arrived, f"L:conn:{provider}")
            earned = self._people.read("provider_balance", provider).earned_atoms + arrived
            self._expect(earned, self._people.earned[provider], f"what {provider} earned")

    def _bank_payouts(self, connected_id: str) -> list[dict[str, Any]]:
        return self._fake.all("payout", connected_id) if connected_id else []

    def _balance(self, connected_id: str) -> int:
        return (self._fake.available_cents(connected_id) + self._fake.pending_cents(connected_id)) * CENT

    def _atoms(self, account: str) -> int:
        return int(self._people.read("account_atoms", account))

    def _expect(self, is_so: object, should_be: object, what: str) -> None:
        self._world.expect(is_so == should_be, f"{what}: {is_so}, must be {should_be}")
