"""A stateful fake of Stripe over real HTTP, as strict as the real one where money could be lost."""

from tests.fakes.stripe.cards import CARDS
from tests.fakes.stripe.fake import FakeStripe
from tests.fakes.stripe.faults import ANYWHERE, Fault

__all__ = ["ANYWHERE", "CARDS", "FakeStripe", "Fault"]
