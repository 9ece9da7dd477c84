"""What all endpoints share: the objects, the books and the events."""

from collections.abc import Callable

from gollem.clock import Clock
from tests.fakes.stripe.balances import Balances
from tests.fakes.stripe.events import Events
from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object, Store

Endpoint = Callable[[Request], Object]
Routes = dict[str, Endpoint]  # by `POST /v1/things/{id}`


class World:
    """One fake Stripe, before anybody can reach it."""

    def __init__(self, clock: Clock, *, livemode: bool) -> None:
        self.store = Store(clock, livemode=livemode)
        self.balances = Balances(self.store)
        self.events = Events(self.store)

    def routes(self) -> Routes:
        return {
            "GET /v1/balance": self.balances.balance,
            "GET /v1/balance_transactions": self.balances.list,
            "GET /v1/balance_transactions/{id}": self.balances.retrieve,
            "GET /v1/events": self.events.list,
            "GET /v1/events/{id}": self.events.retrieve,
        }
