"""Customers and the payment methods that are kept for them."""

from typing import Any

from tests.fakes.stripe.cards import CARDS, Card
from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object
from tests.fakes.stripe.world import Routes, World

_NOBODY = {"address": None, "email": None, "name": None, "phone": None, "tax_id": None}
_UNUSED: dict[str, Any] = {"customer": None, "metadata": {}, "billing_details": _NOBODY}


class Customers:
    """How a card behaves is known here, and not to those who charge it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cards: dict[str, Card] = {}

    def routes(self) -> Routes:
        return {
            "POST /v1/customers": self._create,
            "GET /v1/customers": self._list,
            "GET /v1/customers/{id}": self._retrieve,
            "GET /v1/payment_methods/{id}": self._method,
        }

    def method(self, name: str) -> Object:
        """A payment method that is there, or a new one of a test card such as `pm_card_visa`."""
        if name not in CARDS:
            return self._world.store.find("payment_method", name, param="payment_method")
        details = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2040, "funding": "credit"}
        made = self._world.store.make("payment_method", "pm", type="card", card=details, **_UNUSED)
        self._cards[made["id"]] = CARDS[name]
        return made

    def bank_account(self) -> Object:
        details = {"bank_name": "STRIPE TEST BANK", "last4": "6789"}
        return self._world.store.make(
            "payment_method", "pm", type="us_bank_account", us_bank_account=details, **_UNUSED
        )

    def card(self, method: Object) -> Card:
        return self._cards[method["id"]]

    def turn_card(self, card_id: str, into: str) -> None:
        """A card that is kept behaves as another test card from now on: it expired, or its owner is broke."""
        self._world.store.find("payment_method", card_id)
        self._cards[card_id] = CARDS[into]

    def keep(self, method: Object, customer_id: str) -> None:
        method["customer"] = customer_id
        self._world.events.tell("payment_method.attached", method)

    # --- endpoints

    def _create(self, request: Request) -> Object:
        request.allow("metadata email name description")
        made = self._world.store.make("customer", "cus", metadata=request.metadata)
        made |= {name: request.params.get(name) for name in ("email", "name", "description")}
        self._world.events.tell("customer.created", made)
        return made

    def _list(self, request: Request) -> Object:
        return self._world.store.page(request, "customer")

    def _retrieve(self, request: Request) -> Object:
        return self._world.store.find("customer", request.path_ids[0])

    def _method(self, request: Request) -> Object:
        return self._world.store.find("payment_method", request.path_ids[0])
