"""What all endpoints share: the objects, the books and the events."""

from collections.abc import Callable
from typing import Protocol

from gollem.clock import Clock
from tests.fakes.stripe.balances import Balances
from tests.fakes.stripe.events import Events
from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object, Store

Endpoint = Callable[[Request], Object]
Routes = dict[str, Endpoint]  # by `POST /v1/things/{id}`


class Room(Protocol):
    """A part of the API."""

    def routes(self) -> Routes: ...


class World:
    """One fake Stripe, before anybody can reach it."""

    def __init__(self, clock: Clock, *, livemode: bool) -> None:
        self.store = Store(clock, livemode=livemode)
        self.balances = Balances(self.store)
        self.events = Events(self.store)

    def routes(self) -> Routes:
        return self.balances.routes() | self.events.routes()
