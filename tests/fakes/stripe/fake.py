"""A stateful Stripe: its HTTP API, what people and banks do, and what goes wrong. All in the test's own process."""

from gollem.clock import Clock
from tests.fakes.stripe.accounts import Accounts
from tests.fakes.stripe.api import Api
from tests.fakes.stripe.charges import Charges
from tests.fakes.stripe.customers import Customers
from tests.fakes.stripe.disputes import Disputes
from tests.fakes.stripe.payments import Payments
from tests.fakes.stripe.payouts import Payouts
from tests.fakes.stripe.platform import Platform
from tests.fakes.stripe.refunds import Refunds
from tests.fakes.stripe.server import Server
from tests.fakes.stripe.store import Object
from tests.fakes.stripe.transfers import Transfers
from tests.fakes.stripe.webhooks import Webhooks
from tests.fakes.stripe.world import Room, World

SECRET_KEY = "sk_test_of_the_fake"


class FakeStripe:
    """`await start()`, then `url`; `await stop()`. Time is the clock's. Amounts are cents of USD.

    Without a socket: `api.answer(...)`. What goes wrong is planned with `faults`, what is told with `webhooks`."""

    def __init__(self, clock: Clock, *, livemode: bool = False) -> None:
        self.secret_key = SECRET_KEY
        self.livemode = livemode
        self._world = World(clock, livemode=livemode)
        rooms = (self._world, *self._money_in(), *self._money_out())
        routes = {route: endpoint for room in rooms for route, endpoint in room.routes().items()}
        self.api = Api(clock, self._world, routes, SECRET_KEY)
        self.faults = self.api.faults
        self.calls = self.api.calls
        self.webhooks = Webhooks(clock, self._world.events, livemode=livemode)
        self._server = Server(self.api)

        platform = Platform(self._world)
        self.top_up = platform.top_up
        self.take_fee = platform.take_fee
        self.move_oddly = platform.move_oddly

    def _money_in(self) -> list[Room]:
        """And what payers and their banks do."""
        charges, customers, disputes = Charges(self._world), Customers(self._world), Disputes(self._world)
        payments, refunds = Payments(self._world, charges, customers, disputes), Refunds(self._world)
        self.pay = payments.pay
        self.decline = payments.decline
        self.authenticate = payments.authenticate
        self.process = payments.process
        self.succeed = payments.succeed
        self.fail = payments.fail
        self.turn_card = customers.turn_card
        self.charges = charges  # `charges.book_later` lets their balance transactions wait for `book_charges`
        self.book_charges = charges.book_charges
        self.refunds = refunds  # `refunds.take_days` makes new ones pending
        self.refund_by_hand = refunds.refund_by_hand
        self.settle_refund = refunds.settle_refund
        self.fail_refund = refunds.fail_refund
        self.dispute = disputes.dispute
        self.escalate = disputes.escalate
        self.drop_inquiry = disputes.drop_inquiry
        self.win = disputes.win
        self.lose = disputes.lose
        return [charges, customers, payments, refunds, disputes]

    def _money_out(self) -> list[Room]:
        """And what payees and their banks do."""
        accounts = Accounts(self._world)
        transfers, payouts = Transfers(self._world, accounts), Payouts(self._world, accounts)
        self.verify_account = accounts.verify_account
        self.swap_bank = accounts.swap_bank
        self.leave = accounts.leave
        self.reverse_by_hand = transfers.reverse_by_hand
        self.bank_takes = payouts.bank_takes
        self.bank_pays = payouts.bank_pays
        self.bank_fails = payouts.bank_fails
        self.pay_out_by_hand = payouts.pay_out_by_hand
        return [accounts, transfers, payouts]

    @property
    def url(self) -> str:
        return self._server.url

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    def release_funds(self, connected_id: str = "") -> None:
        """What is pending becomes available, of the platform or of a connected account."""
        self._world.balances.release(connected_id)
        self._world.events.tell("balance.available", self._world.balances.balance(connected_id), connected_id)

    def lag_lists(self, by_s: int) -> None:
        """From now on lists show what is that old; by its id it is found at once."""
        self._world.store.lists_lag_s = by_s

    def all(self, kind: str, connected_id: str = "") -> list[Object]:
        """Every object of a kind (`payment_intent`, `transfer`, ...), oldest first, for a test to look at."""
        return [self._world.store.show(thing) for thing in self._world.store.all(kind, connected_id)]

    def object(self, kind: str, object_id: str, connected_id: str = "") -> Object:
        return self._world.store.show(self._world.store.find(kind, object_id, connected_id))

    def available_cents(self, connected_id: str = "") -> int:
        return self._world.balances.cents("available", connected_id)

    def pending_cents(self, connected_id: str = "") -> int:
        return self._world.balances.cents("pending", connected_id)
