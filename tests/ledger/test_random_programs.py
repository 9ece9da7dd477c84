"""Random programs on the model and on SQLite: every answer, every balance and the audit are the same."""

import asyncio
import tempfile
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gollem.errors import GollemError
from gollem.ledger import Hold, rules
from gollem.ledger.memory import MemoryLedger
from gollem.ledger.sqlite import open_sqlite
from gollem.ledger.types import Transaction

USERS = ("alice", "bob")
PROVIDERS = ("acme", "zeta")
START_MS = 1_800_057_500_000  # shortly before a midnight
T = TypeVar("T")

users = st.sampled_from(USERS)
amounts = st.one_of(st.integers(1, 200), st.integers(2**62 - 300, 2**62 - 1))
shares = st.integers(0, 10_000)
picks = st.integers(0, 1_000_000)


class Programs(RuleBasedStateMachine):
    """Each step posts something to both ledgers, alone or several at once, and compares."""

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.model = MemoryLedger()
        self.path = Path(self.folder.name) / "ledger.db"
        self.store = self.run(self.opened())
        self.now_ms = START_MS
        self.holds: list[Hold] = []
        self.posted: list[Transaction] = []

    async def opened(self) -> object:
        return open_sqlite(self.path)

    def run(self, step: Awaitable[T]) -> T:
        return self.loop.run_until_complete(step)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
            self.loop.close()
            self.folder.cleanup()

    # --- steps ------------------------------------------------------------------------------------------------------

    @rule(user=users, amount=amounts)
    def grant(self, user: str, amount: int) -> None:
        self.post([rules.grant(f"g{len(self.posted)}", user, amount, self.now_ms)])

    @rule(user=users, provider=st.sampled_from(PROVIDERS), amount=amounts, lifetime_ms=st.integers(0, 90_000))
    def hold(self, user: str, provider: str, amount: int, lifetime_ms: int) -> None:
        order_id = f"order-{len(self.holds) % 40}"
        hold = Hold(order_id, user, provider, amount, self.now_ms, self.now_ms + lifetime_ms, "terms", fence=amount % 3)
        self.holds.append(hold)
        self.post([rules.hold(hold, f"bid of {order_id} by {user}", self.now_ms)])

    @precondition(lambda self: self.holds)
    @rule(pick=picks, usage=shares, fee_bps=shares)
    def settle(self, pick: int, usage: int, fee_bps: int) -> None:
        hold = self.any_hold(pick)
        usage_atoms = hold.amount_atoms * usage // 10_000
        self.post([rules.settle(hold, usage_atoms, usage_atoms * fee_bps // 10_000, self.now_ms, "sold")])

    @precondition(lambda self: self.holds)
    @rule(pick=picks)
    def void(self, pick: int) -> None:
        self.post([rules.void(self.any_hold(pick), self.now_ms, "cancelled")])

    @precondition(lambda self: self.holds)
    @rule(pick=picks)
    def expire(self, pick: int) -> None:
        self.post([rules.expire(self.any_hold(pick), self.now_ms)])

    @precondition(lambda self: self.holds)
    @rule(pick=picks, change=st.sampled_from([{"fence": 7}, {"amount_atoms": 5}, {"user": "bob"}]))
    def close_wrongly(self, pick: int, change: dict[str, object]) -> None:
        self.post([rules.void(replace(self.any_hold(pick), **change), self.now_ms)])  # type: ignore[arg-type]

    @precondition(lambda self: self.posted)
    @rule(pick=picks)
    def replay(self, pick: int) -> None:
        self.post([replace(self.posted[pick % len(self.posted)], at_ms=self.now_ms)])

    @precondition(lambda self: self.posted)
    @rule(pick=picks)
    def reuse_key(self, pick: int) -> None:
        self.post([replace(self.posted[pick % len(self.posted)], fingerprint="another")])

    @precondition(lambda self: self.posted)
    @rule(choice=st.lists(picks, min_size=2, max_size=12))
    def replay_many_at_once(self, choice: list[int]) -> None:
        """One group: each must see what those before it did."""
        self.post([self.posted[pick % len(self.posted)] for pick in choice])

    @rule(by_ms=st.integers(-3_600_000, 3_600_000))
    def time_passes_or_jumps(self, by_ms: int) -> None:
        self.now_ms += by_ms

    @precondition(lambda self: len(self.posted) % 7 == 6)
    @rule()
    def reopen(self) -> None:
        self.run(self.store.close())
        self.store = self.run(self.opened())

    # --- what must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "store"):
            return
        expected, seen = self.run(self.all_of(self.model)), self.run(self.all_of(self.store))
        assert seen == expected
        assert seen[-1].findings == []

    async def all_of(self, ledger: MemoryLedger) -> list[object]:
        orders = {hold.order_id for hold in self.holds}
        return [
            [await ledger.balance(user) for user in USERS],
            [await ledger.user_statement(user, limit=200) for user in USERS],
            [await ledger.provider_statement(provider, limit=200) for provider in PROVIDERS],
            [(await ledger.provider_balance(provider)).earned_atoms for provider in PROVIDERS],
            [await ledger.find_hold(order_id) for order_id in sorted(orders)],
            [await ledger.find_entry(transaction.key) for transaction in self.posted[-3:]],
            await ledger.open_holds(),
            await ledger.expired_holds(self.now_ms),
            await ledger.audit(),
        ]

    def any_hold(self, pick: int) -> Hold:
        return self.holds[pick % len(self.holds)]

    def post(self, transactions: list[Transaction]) -> None:
        self.posted += transactions if len(transactions) == 1 else []
        expected = [self.run(self.answer(self.model, one)) for one in transactions]
        assert self.run(self.answers(transactions)) == expected

    async def answers(self, transactions: list[Transaction]) -> list[object]:
        return list(await asyncio.gather(*(self.answer(self.store, one) for one in transactions)))

    async def answer(self, ledger: MemoryLedger, transaction: Transaction) -> object:
        try:
            return await ledger.post(transaction)
        except GollemError as error:
            return type(error), error.figures


TestPrograms = Programs.TestCase
TestPrograms.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
