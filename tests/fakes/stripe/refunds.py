"""Refunds to cards: asked for by us, or by hand in the dashboard; pending, arrived, failed later."""

from gollem.payments.types import CURRENCY
from tests.fakes.stripe.errors import refused
from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object
from tests.fakes.stripe.world import Routes, World

_REASONS = ("duplicate", "fraudulent", "requested_by_customer")
_GIVEN_BACK = ("won", "warning_closed")


class Refunds:
    """They take the platform's available balance, below zero if need be, and give it back if the bank refuses."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.take_days = False  # whether new ones are pending until `settle_refund`

    def routes(self) -> Routes:
        return {
            "POST /v1/refunds": self._create,
            "GET /v1/refunds": self._list,
            "GET /v1/refunds/{id}": self._retrieve,
        }

    # --- what banks and people do

    def refund_by_hand(self, payment_id: str, cents: int) -> str:
        """Somebody refunds in the dashboard. Returns the refund's id."""
        payment = self._world.store.find("payment_intent", payment_id)
        return str(self._make(payment["latest_charge"], cents, {}, None)["id"])

    def settle_refund(self, stripe_id: str) -> None:
        """A pending one arrived."""
        self._change(self._in_state(stripe_id, "pending"), "succeeded")

    def fail_refund(self, stripe_id: str) -> None:
        """The card's bank sends it back, also after it succeeded."""
        refund = self._in_state(stripe_id, "pending", "succeeded")
        charge = self._world.store.find("charge", refund["charge"])
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
        refund["failure_reason"] = "expired_or_canceled_card"
        refund["failure_balance_transaction"] = self._world.balances.move("refund_failure", refund["amount"], stripe_id)
        self._change(refund, "failed")
        self._world.events.tell("refund.failed", refund)

    # --- endpoints

    def _create(self, request: Request) -> Object:
        request.allow("payment_intent charge amount metadata reason")
        if "reason" in request.params:
            request.one_of("reason", _REASONS)
        charge_id = request.params.get("charge") or self._charge_of(request.text("payment_intent"))
        charge = self._world.store.find("charge", charge_id, param="charge")
        cents = request.cents(max(charge["amount"] - charge["amount_refunded"], 1))
        return self._make(charge_id, cents, request.metadata, request.params.get("reason"))

    def _charge_of(self, payment_id: str) -> str:
        payment = self._world.store.find("payment_intent", payment_id, param="payment_intent")
        if payment["status"] != "succeeded":
            message = "This PaymentIntent does not have a successful charge to refund."
            raise refused(message, "payment_intent_unexpected_state")
        return str(payment["latest_charge"])

    def _list(self, request: Request) -> Object:
        return self._world.store.page(request, "refund", "charge payment_intent")

    def _retrieve(self, request: Request) -> Object:
        request.allow("")
        return self._world.store.find("refund", request.path_ids[0])

    # --- inside

    def _make(self, charge_id: str, cents: int, metadata: dict[str, str], reason: str | None) -> Object:
        charge = self._world.store.find("charge", charge_id)
        self._check(charge, cents)
        refund = self._world.store.make(
            "refund",
            "re",
            amount=cents,
            charge=charge_id,
            currency=CURRENCY,
            metadata=metadata,
            payment_intent=charge["payment_intent"],
            reason=reason,
            receipt_number=None,
            status="pending" if self.take_days else "succeeded",
        )
        kind = "refund" if charge_id.startswith("ch_") else "payment_refund"
        refund["balance_transaction"] = self._world.balances.move(kind, -cents, refund["id"])
        charge["amount_refunded"] += cents
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        self._world.events.tell("refund.created", refund)
        self._world.events.tell("charge.refunded", charge)
        return refund

    def _check(self, charge: Object, cents: int) -> None:
        left_cents = charge["amount"] - charge["amount_refunded"]
        if not charge["paid"]:
            raise refused("This charge was not paid.", "charge_not_refundable")
        disputes = [one for one in self._world.store.all("dispute") if one["charge"] == charge["id"]]
        if any(one["status"] not in _GIVEN_BACK and not one["is_charge_refundable"] for one in disputes):
            raise refused("This charge has been charged back.", "charge_disputed")
        if left_cents == 0:
            raise refused("Charge has already been refunded.", "charge_already_refunded")
        if cents > left_cents:
            raise refused("Refund amount is greater than unrefunded amount on charge.", param="amount")

    def _in_state(self, stripe_id: str, *states: str) -> Object:
        refund = self._world.store.find("refund", stripe_id)
        if refund["status"] not in states:
            raise refused(f"the refund is {refund['status']}")
        return refund

    def _change(self, refund: Object, status: str) -> None:
        refund["status"] = status
        self._world.events.tell("refund.updated", refund)
        self._world.events.tell("charge.refund.updated", refund)
