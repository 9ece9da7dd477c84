"""Disputes: what a cardholder's bank asks, takes back, and gives again."""

from gollem.payments.types import CURRENCY
from tests.fakes.stripe.errors import refused
from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object
from tests.fakes.stripe.world import Routes, World

FEE_CENTS = 1_500
_EVIDENCE_S = 14 * 86_400
_NO_EVIDENCE = {"has_evidence": False, "past_due": False, "submission_count": 0}
_INQUIRY = ("warning_needs_response", "warning_under_review")
_OPEN = ("needs_response", "under_review")


class Disputes:
    """An inquiry moves no money. A dispute takes its amount and a fee, and a win gives the amount alone."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> Routes:
        return {"GET /v1/disputes": self._list, "GET /v1/disputes/{id}": self._retrieve}

    # --- what banks do

    def dispute(
        self, payment_id: str, cents: int | None = None, *, fee_cents: int = FEE_CENTS, inquiry: bool = False
    ) -> str:
        """The bank asks for `cents`, which may differ from the payment's (none: all of it). Returns the dispute's
        id."""
        payment = self._world.store.find("payment_intent", payment_id)
        charge = self._world.store.find("charge", payment["latest_charge"])
        status = "warning_needs_response" if inquiry else "needs_response"
        dispute = self._make(charge, charge["amount"] if cents is None else cents, status)
        charge["disputed"] = True
        self._world.events.tell("charge.dispute.created", dispute)
        if not inquiry:
            self._withdraw(dispute, fee_cents)
        return str(dispute["id"])

    def escalate(self, dispute_id: str, *, fee_cents: int = FEE_CENTS) -> None:
        """An inquiry becomes a dispute."""
        dispute = self._change(dispute_id, _INQUIRY, "needs_response")
        dispute["is_charge_refundable"] = False
        self._world.events.tell("charge.dispute.updated", dispute)
        self._withdraw(dispute, fee_cents)

    def win(self, dispute_id: str, cents: int | None = None, *, fee_cents: int = 0) -> None:
        """The bank gives back what it took, or `cents`; `fee_cents` is negative where the fee comes back too."""
        dispute = self._change(dispute_id, _OPEN, "won")
        self._move(dispute, dispute["amount"] if cents is None else cents, fee_cents)
        self._world.events.tell("charge.dispute.funds_reinstated", dispute)
        self._world.events.tell("charge.dispute.closed", dispute)

    def lose(self, dispute_id: str) -> None:
        self._world.events.tell("charge.dispute.closed", self._change(dispute_id, _OPEN, "lost"))

    def drop_inquiry(self, dispute_id: str) -> None:
        """It comes to nothing."""
        self._world.events.tell("charge.dispute.closed", self._change(dispute_id, _INQUIRY, "warning_closed"))

    # --- endpoints

    def _list(self, request: Request) -> Object:
        return self._world.store.page(request, "dispute", "charge payment_intent")

    def _retrieve(self, request: Request) -> Object:
        request.allow("")
        return self._world.store.find("dispute", request.path_ids[0])

    # --- inside

    def _make(self, charge: Object, cents: int, status: str) -> Object:
        if not charge["paid"]:
            raise refused("what was never paid is not disputed")
        due_s = self._world.store.now_s() + _EVIDENCE_S
        return self._world.store.make(
            "dispute",
            "dp",
            amount=cents,
            balance_transactions=[],
            charge=charge["id"],
            currency=CURRENCY,
            enhanced_eligibility_types=[],
            evidence={"enhanced_evidence": {}},
            evidence_details={"due_by": due_s, "enhanced_eligibility": {}, **_NO_EVIDENCE},
            is_charge_refundable=status in _INQUIRY,
            metadata={},
            payment_intent=charge["payment_intent"],
            reason="fraudulent",
            status=status,
        )

    def _withdraw(self, dispute: Object, fee_cents: int) -> None:
        self._move(dispute, -dispute["amount"], fee_cents)
        self._world.events.tell("charge.dispute.funds_withdrawn", dispute)

    def _move(self, dispute: Object, cents: int, fee_cents: int) -> None:
        moved = self._world.balances.move("adjustment", cents, dispute["id"], fee_cents=fee_cents)
        dispute["balance_transactions"].append(moved)

    def _change(self, dispute_id: str, states: tuple[str, ...], status: str) -> Object:
        dispute = self._world.store.find("dispute", dispute_id)
        if dispute["status"] not in states:
            raise refused(f"the dispute is {dispute['status']}")
        dispute["status"] = status
        return dispute
