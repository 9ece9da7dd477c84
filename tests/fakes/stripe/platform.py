"""What else moves the platform's balance: its owner tops it up, Stripe takes fees, and things nobody explains."""

from gollem.payments.types import CURRENCY
from tests.fakes.stripe.world import World


class Platform:
    """Nothing here was asked for over the API."""

    def __init__(self, world: World) -> None:
        self._world = world

    def top_up(self, cents: int) -> str:
        """Money of our own, available at once. Returns the balance transaction's id."""
        made = self._world.store.make("topup", "tu", amount=cents, currency=CURRENCY, status="succeeded", metadata={})
        moved = self._world.balances.move("topup", cents, made["id"])
        made["balance_transaction"] = moved
        self._world.events.tell("topup.succeeded", made)
        return moved

    def take_fee(self, cents: int, description: str = "Connect: active accounts") -> str:
        """Stripe bills us. Returns the balance transaction's id."""
        return self._world.balances.move("stripe_fee", -cents, None, description=description)

    def move_oddly(self, cents: int, kind: str = "adjustment") -> str:
        """A movement that belongs to nothing we know. Returns the balance transaction's id."""
        return self._world.balances.move(kind, cents, None, description="Adjustment")
