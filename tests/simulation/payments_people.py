"""What people, banks and Stripe's own staff do: buy, pay, refund, dispute, earn, are paid, and meddle by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gollem.errors import GollemError
from gollem.ledger import Hold, records, rules
from tests.fakes.stripe import FakeStripe
from tests.fakes.stripe.errors import RefusalError
from tests.simulation.payments_server import Server
from tests.simulation.payments_wire import LeapingClock
from tests.simulation.store import SharedStore
from tests.simulation.world import World, run_now

CENT = 10**9
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
_LEAPS_MS = (1_000, 2 * MINUTE_MS, 2 * MINUTE_MS, 7 * MINUTE_MS)  # while calls are under way
_LONG_LEAPS_MS = (HOUR_MS, 21 * HOUR_MS, 25 * HOUR_MS)  # longer than any call may take
_LONGEST_FLIGHT_S = 6  # of a request whose sender crashed
_OPEN_DISPUTES = ("needs_response", "under_review")
_INQUIRIES = ("warning_needs_response", "warning_under_review")


class People:
    """`spent` and `earned`: what users' credits went to, by user and by provider, in atoms."""

    def __init__(
        self, world: World, store: SharedStore, fake: FakeStripe, clock: LeapingClock, servers: list[Server]
    ) -> None:
        self._world = world
        self._store = store
        self._fake = fake
        self._clock = clock
        self._servers = servers
        self.users = ["ann", "ben", "cat"]
        self.providers = ["acme", "bolt"]
        self._leaps_far = False
        self.spent = dict.fromkeys(self.users, 0)
        self.earned = dict.fromkeys(self.providers, 0)
        self._deeds: dict[Callable[[], None], int] = {
            self.buy: 5,
            self.pay: 8,
            self.bank_decides: 3,
            self.refund: 6,
            self.refund_arrives: 3,
            self.dispute: 2,
            self.dispute_goes_on: 3,
            self.spend: 8,
            self.onboard: 2,
            self.ask_for_payout: 2,
            self.bank_takes_payout: 4,
            self.by_hand: 2,
            self.tell: 8,
            self.round: 14,
            self.release: 2,
            self.leap: 4,
            self.leap_far: 5,
            self.crash: 2,
        }

    def begin(self) -> None:
        """The platform has a float, and providers have earned something and are on their way to be paid."""
        self._fake.top_up(20_000)
        for provider in self.providers:
            atoms = self._world.dice.randrange(10**13)
            self.read("post", rules.grant(f"of-{provider}", "early", atoms, self._clock.now_ms()))
            self._order("early", provider, atoms)
            self.onboard()

    def act(self) -> None:
        """Anything, once."""
        (deed,) = self._world.dice.choices(list(self._deeds), list(self._deeds.values()))
        self._world.note("people", deed.__name__)
        try:
            deed()
        except RefusalError:
            self._world.note("people", deed.__name__, "refused by Stripe")

    def read(self, name: str, *args: Any) -> Any:
        """Of the shared ledger, past every fault."""
        return run_now(getattr(self._store.ledger, name)(*args))

    # --- users ------------------------------------------------------------------------------------------------------

    def buy(self) -> None:
        user, name, cents = self._any(self.users), self._world.new_id("buy"), self._world.dice.randrange(100, 5_000)
        for server in self._some_servers():
            server.spawn(server.purchases.create(user, name, cents, keep_card=self._world.chance(0.2)))

    def pay(self) -> None:
        waiting = [one["id"] for one in self._fake.all("payment_intent") if one["status"] == "requires_payment_method"]
        if waiting:
            pay = self._world.dice.choice((self._fake.pay, self._fake.pay, self._fake.decline, self._fake.process))
            pay(self._any(waiting))

    def refund(self) -> None:
        paid = self._paid()
        if paid:
            payment = self._any(paid)
            self._fake.refunds.take_days = self._world.chance(0.5)
            refund, cents = self._world.new_id("rf"), self._world.dice.randrange(1, payment["amount"] + 1)
            for server in self._some_servers():
                server.spawn(server.refunds.create(refund, payment["metadata"]["purchase_id"], cents))

    def spend(self) -> None:
        user, provider = self._any(self.users), self._any(self.providers)
        balance = self.read("balance", user)
        if not balance.active or balance.available_atoms < 100:
            return
        atoms = self._world.dice.randrange(50, balance.available_atoms)
        self._order(user, provider, atoms)
        self.spent[user] += atoms

    def _order(self, user: str, provider: str, atoms: int) -> None:
        now_ms = self._clock.now_ms()
        hold = Hold(self._world.new_id("order"), user, provider, atoms, now_ms, now_ms + MINUTE_MS, "")
        self.read("post", rules.hold(hold, "bid", now_ms))
        self.read("post", rules.settle(hold, atoms, 0, now_ms))
        self.earned[provider] += atoms

    # --- banks ------------------------------------------------------------------------------------------------------

    def bank_decides(self) -> None:
        processing = [one["id"] for one in self._fake.all("payment_intent") if one["status"] == "processing"]
        if processing:
            self._world.dice.choice((self._fake.succeed, self._fake.succeed, self._fake.fail))(self._any(processing))

    def refund_arrives(self) -> None:
        ours = [one for one in self._fake.all("refund") if one["status"] in ("pending", "succeeded")]
        if ours:
            refund = self._any(ours)
            if refund["status"] == "pending" and self._world.chance(0.6):
                self._fake.settle_refund(refund["id"])
            elif self._world.chance(0.6):
                self._fake.fail_refund(refund["id"])

    def dispute(self) -> None:
        paid = self._paid()
        if paid:
            payment = self._any(paid)
            cents = self._world.dice.choice((payment["amount"], payment["amount"], payment["amount"] // 2))
            if not self._fake.object("charge", payment["latest_charge"])["disputed"]:
                self._fake.dispute(payment["id"], cents, inquiry=self._world.chance(0.3))

    def dispute_goes_on(self) -> None:
        disputes = [one for one in self._fake.all("dispute") if one["status"] in _OPEN_DISPUTES + _INQUIRIES]
        if disputes:
            dispute = self._any(disputes)
            ways = (self._fake.win, self._fake.lose)
            if dispute["status"] in _INQUIRIES:
                ways = (self._fake.escalate, self._fake.drop_inquiry)
            self._world.dice.choice(ways)(dispute["id"])

    def bank_takes_payout(self) -> None:
        for connected_id in self._accounts():
            for payout in self._fake.all("payout", connected_id):
                if payout["status"] == "pending" and self._world.chance(0.5):
                    self._fake.bank_pays(payout["id"])
                elif payout["status"] in ("pending", "paid") and self._world.chance(0.15):
                    self._fake.bank_fails(payout["id"])

    # --- providers --------------------------------------------------------------------------------------------------

    def onboard(self) -> None:
        provider, server = self._any(self.providers), self._any(self._servers)
        server.spawn(server.onboarding.start(provider, "US", "https://example.com/back"))
        for connected_id in self._accounts():
            self._fake.verify_account(connected_id, can_be_paid=self._world.chance(0.8))

    def ask_for_payout(self) -> None:
        provider, name = self._any(self.providers), self._world.new_id("ask")
        for server in self._some_servers():
            server.spawn(server.payouts.request(provider, name))

    # --- the platform, and Stripe -----------------------------------------------------------------------------------

    def by_hand(self) -> None:
        dice = self._world.dice
        paid, transfers = self._paid(), self._fake.all("transfer")
        match dice.randrange(6):
            case 0:
                self._fake.take_fee(dice.randrange(1, 300))
            case 1:
                self._fake.move_oddly(dice.choice((-1, 1)) * dice.randrange(1, 300))
            case 2:
                self._fake.top_up(dice.randrange(100, 10_000))
            case 3 if paid:
                self._fake.refund_by_hand(self._any(paid)["id"], dice.randrange(1, 100))
            case 4 if transfers:
                self._fake.reverse_by_hand(self._any(transfers)["id"])
            case _:
                payout = self._fake.pay_out_by_hand(dice.randrange(1, 500))
                if self._world.chance(0.5):
                    self._fake.bank_fails(payout)

    def tell(self) -> None:
        """Webhooks: lost, twice, in any order, to any server."""
        world = self._world
        signed = [each for each in self._fake.webhooks.take() if not world.chance(world.weather.lost * 2)]
        signed += [each for each in signed if world.chance(world.weather.doubled)]
        world.dice.shuffle(signed)
        for raw, signature in signed:
            server = self._any(self._servers)
            server.spawn(server.inbox.receive(raw, signature))

    def release(self) -> None:
        self._fake.release_funds()

    def round(self) -> None:
        """Something that a server does by itself."""
        for server in self._some_servers():
            often = [*server.rounds, server.payouts.look, server.payouts.look]
            server.spawn(_checked(self._world, self._any(often)))

    def leap(self) -> None:
        self._clock.leap(self._any(_LEAPS_MS))

    def leap_far(self) -> None:
        self._leaps_far = True

    async def pass_time(self) -> None:
        """A moment; or hours, once nothing is under way that its sender would have given up long before."""
        await asyncio.sleep(self._any((0, 0.01, 0.1)))
        if self._leaps_far:
            self._leaps_far = False
            await asyncio.sleep(_LONGEST_FLIGHT_S)
            await asyncio.gather(*(server.be_idle() for server in self._servers))
            self._clock.leap(self._any(_LONG_LEAPS_MS))

    def crash(self) -> None:
        server = self._any(self._servers)
        server.crash()
        server.start()

    # --- when the faults are over -----------------------------------------------------------------------------------

    async def settle_all(self) -> None:
        """A day passes: people and banks decide, and every round comes round."""
        for payment in self._fake.all("payment_intent"):
            if payment["status"] == "processing":
                self._fake.succeed(payment["id"])
        for refund in self._fake.all("refund"):
            if refund["status"] == "pending":
                self._fake.settle_refund(refund["id"])
        for dispute in self._fake.all("dispute"):
            if dispute["status"] in _INQUIRIES:
                self._fake.drop_inquiry(dispute["id"])
            elif dispute["status"] in _OPEN_DISPUTES:
                self._fake.win(dispute["id"])
        for connected_id in self._accounts():
            self._fake.verify_account(connected_id)
            for payout in self._fake.all("payout", connected_id):
                if payout["status"] == "pending":
                    self._fake.bank_pays(payout["id"])
        self._fake.release_funds()
        if self._fake.available_cents() < 50_000:
            self._fake.top_up(100_000)
        self._clock.leap(25 * HOUR_MS)
        await self._rounds()

    async def _rounds(self) -> None:
        server = self._servers[0]
        server.crash()  # whoever takes over knows nothing
        server.start()
        in_any_order = self._world.dice.sample(server.rounds, len(server.rounds))
        for one in [*in_any_order, *server.rounds]:
            await server.spawn(_checked(self._world, one))
        for record in self.read("records", records.DISPUTE, "WITHDRAWN"):
            await server.spawn(server.disputes.write_off(record.id, "eve"))
        for record in self.read("records", records.UNMATCHED, "OPEN"):
            self.read("post", rules.unmatched_resolved(record, "E:adjust", "eve", self._clock.now_ms()))

    # --- choosing ---------------------------------------------------------------------------------------------------

    def _any(self, things: Any) -> Any:
        return self._world.dice.choice(things)

    def _some_servers(self) -> list[Server]:
        """One, or two at once."""
        return self._world.dice.sample(self._servers, 2 if self._world.chance(0.3) else 1)

    def _paid(self) -> list[dict[str, Any]]:
        return [one for one in self._fake.all("payment_intent") if one["status"] == "succeeded"]

    def _accounts(self) -> list[str]:
        return [one["id"] for one in self._fake.all("account")]


async def _checked(world: World, work: Callable[[], Awaitable[Any]]) -> None:
    """A round; a check of the books that finds anything has found a bug."""
    try:
        result = await work()
    except GollemError as error:
        world.note("round", getattr(work, "__name__", ""), error.reason)
        raise
    world.expect(not getattr(result, "findings", ()), "the books do not agree:", getattr(result, "findings", ""))
