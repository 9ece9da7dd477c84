"""PaymentIntents: the endpoints, and what payers and their banks do."""

from hashlib import blake2b

from gollem.payments.types import CURRENCY
from tests.fakes.stripe.cards import Card
from tests.fakes.stripe.charges import Charges
from tests.fakes.stripe.customers import Customers
from tests.fakes.stripe.disputes import Disputes
from tests.fakes.stripe.errors import RefusalError, declined, invalid, refused
from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object
from tests.fakes.stripe.world import Routes, World

LEAST_CENTS = 50
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_PARAMETERS = (
    "amount currency customer metadata description confirm off_session payment_method payment_method_types "
    "automatic_payment_methods setup_future_usage receipt_email statement_descriptor_suffix transfer_group"
)


class Payments:
    """`charges`, `customers` and `disputes` do their part."""

    def __init__(self, world: World, charges: Charges, customers: Customers, disputes: Disputes) -> None:
        self._world = world
        self._charges = charges
        self._customers = customers
        self._disputes = disputes

    def routes(self) -> Routes:
        return {
            "POST /v1/payment_intents": self._create,
            "GET /v1/payment_intents": self._list,
            "GET /v1/payment_intents/{id}": self._retrieve,
            "POST /v1/payment_intents/{id}/confirm": self._confirm,
            "POST /v1/payment_intents/{id}/cancel": self._cancel,
        }

    # --- what people and banks do

    def pay(self, payment_id: str, card: str = "pm_card_visa") -> None:
        """Somebody gives a card in the browser: one of Stripe's test cards, or one that is kept. A card that is
        declined leaves the payment waiting; one that wants its owner waits for `authenticate`."""
        try:
            self._attempt(self._open(payment_id), self._customers.method(card), off_session=False)
        except RefusalError as refusal:
            if refusal.status != 402:
                raise

    def decline(self, payment_id: str) -> None:
        """Somebody gives a card that is declined."""
        self.pay(payment_id, "pm_card_visa_chargeDeclined")

    def authenticate(self, payment_id: str, *, passes: bool = True) -> None:
        """The owner of the card answers its bank (3-D Secure)."""
        payment = self._in_state(payment_id, "requires_action")
        method = self._customers.method(payment["payment_method"])
        payment["next_action"] = None
        if passes:
            self._succeed(payment, method, Card())
        else:
            self._fail(payment, method, "payment_intent_authentication_failure")

    def process(self, payment_id: str) -> None:
        """Somebody pays by bank debit, which takes days."""
        payment = self._open(payment_id)
        method = self._customers.bank_account()
        payment.update(status="processing", payment_method=method["id"], last_payment_error=None)
        self._charges.make(payment, method, "pending")
        self._world.events.tell("payment_intent.processing", payment)

    def succeed(self, payment_id: str) -> None:
        """The bank debit arrived."""
        payment = self._in_state(payment_id, "processing")
        self._arrive(payment, self._charges.of(payment), is_available_at_once=False)

    def fail(self, payment_id: str) -> None:
        """The bank debit bounced."""
        payment = self._in_state(payment_id, "processing")
        self._charges.fail(self._charges.of(payment), "insufficient_funds")
        self._wait_for_another(payment, "payment_intent_payment_attempt_failed", "insufficient_funds")

    # --- endpoints

    def _create(self, request: Request) -> Object:
        request.allow(_PARAMETERS)
        request.require_usd()
        if request.cents() < LEAST_CENTS:
            raise invalid("Amount must be at least $0.50 usd", "amount", "amount_too_small")
        if request.flag("off_session") and not request.flag("confirm"):
            raise invalid("off_session can only be used when confirm is true", "off_session")
        customer = request.params.get("customer")
        if customer is not None:
            self._world.store.find("customer", customer, param="customer")
        method = self._method(request) if "payment_method" in request.params else None
        payment = self._make(request, customer)
        self._world.events.tell("payment_intent.created", payment)
        if method and request.flag("confirm"):
            self._attempt(payment, method, off_session=request.flag("off_session"))
        return payment

    def _make(self, request: Request, customer: str | None) -> Object:
        payment = self._world.store.make(
            "payment_intent",
            "pi",
            amount=request.cents(),
            amount_capturable=0,
            amount_received=0,
            canceled_at=None,
            cancellation_reason=None,
            capture_method="automatic_async",
            confirmation_method="automatic",
            currency=CURRENCY,
            customer=customer,
            description=request.params.get("description"),
            last_payment_error=None,
            latest_charge=None,
            metadata=request.metadata,
            next_action=None,
            payment_method=None,
            payment_method_types=["card"],
            setup_future_usage=request.params.get("setup_future_usage"),
            status="requires_payment_method",
            transfer_group=request.params.get("transfer_group"),
        )
        secret = blake2b(payment["id"].encode(), digest_size=12).hexdigest()
        payment["client_secret"] = f"{payment['id']}_secret_{secret}"
        return payment

    def _method(self, request: Request) -> Object:
        method = self._customers.method(request.text("payment_method"))
        if request.flag("off_session") and method["customer"] != request.params.get("customer"):
            raise refused("The payment method does not belong to the customer", param="payment_method")
        return method

    def _retrieve(self, request: Request) -> Object:
        request.allow("")
        return self._world.store.find("payment_intent", request.path_ids[0])

    def _list(self, request: Request) -> Object:
        return self._world.store.page(request, "payment_intent", "customer")

    def _confirm(self, request: Request) -> Object:
        request.allow("payment_method off_session return_url")
        payment = self._open(request.path_ids[0])
        method = self._customers.method(request.text("payment_method", payment["payment_method"]))
        self._attempt(payment, method, off_session=request.flag("off_session"))
        return payment

    def _cancel(self, request: Request) -> Object:
        request.allow("cancellation_reason")
        payment = self._open(request.path_ids[0])
        reason = request.params.get("cancellation_reason")
        payment.update(status="canceled", canceled_at=self._world.store.now_s(), cancellation_reason=reason)
        self._world.events.tell("payment_intent.canceled", payment)
        return payment

    # --- inside

    def _open(self, payment_id: str) -> Object:
        return self._in_state(payment_id, *_OPEN)

    def _in_state(self, payment_id: str, *states: str) -> Object:
        payment = self._world.store.find("payment_intent", payment_id, param="intent")
        if payment["status"] not in states:
            message = f"This PaymentIntent has a status of {payment['status']}: it cannot do that"
            raise refused(message, "payment_intent_unexpected_state")
        return payment

    def _attempt(self, payment: Object, method: Object, *, off_session: bool) -> None:
        """Ask the card for the money. Raises RefusalError (402) when it says no."""
        card = self._customers.card(method)
        if card.wants_owner and not off_session:
            payment.update(
                status="requires_action", payment_method=method["id"], next_action={"type": "use_stripe_sdk"}
            )
            self._world.events.tell("payment_intent.requires_action", payment)
        elif card.wants_owner:
            self._fail(payment, method, "authentication_required")
            raise self._declined(payment)
        elif card.decline_code:
            self._fail(payment, method, "card_declined", card.decline_code)
            raise self._declined(payment)
        else:
            self._succeed(payment, method, card)

    def _succeed(self, payment: Object, method: Object, card: Card) -> None:
        payment["payment_method"] = method["id"]
        if payment["customer"] and payment["setup_future_usage"] and not method["customer"]:
            self._customers.keep(method, payment["customer"])
        charge = self._charges.make(payment, method, "pending")
        self._arrive(payment, charge, is_available_at_once=card.is_available_at_once)
        if card.is_disputed or card.is_inquired:
            self._disputes.dispute(payment["id"], inquiry=card.is_inquired)

    def _arrive(self, payment: Object, charge: Object, *, is_available_at_once: bool) -> None:
        self._charges.succeed(charge, is_available_at_once=is_available_at_once)
        payment.update(status="succeeded", amount_received=payment["amount"], last_payment_error=None)
        self._world.events.tell("payment_intent.succeeded", payment)

    def _fail(self, payment: Object, method: Object, code: str, decline_code: str = "") -> None:
        self._charges.fail(self._charges.make(payment, method, "pending"), code)
        self._wait_for_another(payment, code, decline_code)

    def _wait_for_another(self, payment: Object, code: str, decline_code: str) -> None:
        error = {"type": "card_error", "code": code, "decline_code": decline_code, "message": "It was declined."}
        payment.update(status="requires_payment_method", payment_method=None, last_payment_error=error)
        self._world.events.tell("payment_intent.payment_failed", payment)

    def _declined(self, payment: Object) -> RefusalError:
        error = payment["last_payment_error"]
        return declined(error["message"], error["code"], error["decline_code"], self._world.store.show(payment))
