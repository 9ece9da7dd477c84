"""Random programs of every type, on the model and on every other backend: each answer, each balance and the audit are
the same, whatever is replayed, reused, raced or built from something stale (fault 13)."""

import asyncio
import random
import tempfile
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from gollem.errors import GollemError
from gollem.ledger import Entry, Kind, Ledger, Posted, StatementLine
from gollem.ledger.memory import MemoryLedger
from gollem.ledger.types import Transaction
from tests.contracts.backends import BACKENDS, Open
from tests.contracts.samples import DAY_MS
from tests.ledger.programs import PROVIDERS, USERS, Programs

LISTED = {
    "purchase": ("CREATED",),
    "refund": ("INITIATED",),
    "provider": ("ENABLED",),
    "payout": ("INITIATED", "TRANSFERRED", "FAILED"),
    "dispute": ("WITHDRAWN",),
    "adjustment": ("PROPOSED",),
    "unmatched": ("OPEN",),
}
MAX_SHELF = 200
MEMORY = Path("/dev/shm")
T = TypeVar("T")

users = st.sampled_from(USERS)
providers = st.sampled_from(PROVIDERS)
shares = st.integers(0, 10_000)
picks = st.integers(0, 1_000_000)


class Machine(RuleBasedStateMachine):
    """Each step posts something to both ledgers, alone or several at once, and compares."""

    backend: Open
    # Whether entries are numbered, and concurrent calls served, in the order in which they come.
    in_order: bool

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        # What it is about is not what survives a power cut: in memory if there is such a folder.
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.model = MemoryLedger()
        self.store = self.run(self.backend(Path(self.folder.name)))
        self.programs = Programs(self.model)
        self.posted: list[Transaction] = []
        self.shelf: list[Transaction] = []  # built, and left for later: by then from something stale

    def run(self, step: Awaitable[T]) -> T:
        return self.loop.run_until_complete(step)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
            self.loop.close()
            self.folder.cleanup()

    @rule(user=users, provider=providers, share=shares, pick=picks)
    def begin(self, user: str, provider: str, share: int, pick: int) -> None:
        self.choose(self.programs.beginnings(user, provider, share), pick)

    @rule(share=shares, choices=st.lists(picks, min_size=1, max_size=4))
    def go_on(self, share: int, choices: list[int]) -> None:
        for pick in choices:
            self.choose(self.programs.continuations(share), pick)

    @precondition(lambda self: self.shelf)
    @rule(pick=picks)
    def come_late(self, pick: int) -> None:
        self.post([self.shelf[pick % len(self.shelf)]])

    @precondition(lambda self: self.posted)
    @rule(pick=picks)
    def replay(self, pick: int) -> None:
        self.post([replace(self.posted[pick % len(self.posted)], at_ms=self.programs.now_ms)])

    @precondition(lambda self: self.posted)
    @rule(pick=picks)
    def reuse_key(self, pick: int) -> None:
        self.post([replace(self.posted[pick % len(self.posted)], fingerprint="another")])

    @precondition(lambda self: self.posted)
    @rule(pick=picks)
    def post_under_a_new_key(self, pick: int) -> None:
        """The guards alone decide."""
        self.post([replace(self.posted[pick % len(self.posted)], key=self.programs.name())])

    @precondition(lambda self: self.posted)
    @rule(choice=st.lists(picks, min_size=2, max_size=12))
    def many_at_once(self, choice: list[int]) -> None:
        """Each must see what those before it did."""
        both = self.posted + self.shelf
        self.post([both[pick % len(both)] for pick in choice])

    @rule(by_ms=st.one_of(st.integers(-3_600_000, 3_600_000), st.just(DAY_MS)))
    def time_passes_or_jumps(self, by_ms: int) -> None:
        self.programs.now_ms += by_ms

    @invariant()
    def both_say_the_same(self) -> None:
        if hasattr(self, "store"):
            expected, seen = self.run(all_of(self.model, self)), self.run(all_of(self.store, self))
            assert self.comparable(seen) == self.comparable(expected)
            assert self.run(self.store.audit()).findings == []

    def choose(self, transactions: list[Transaction], pick: int) -> None:
        if transactions:
            chosen = transactions.pop(pick % len(transactions))
            self.shelf = (self.shelf + transactions)[-MAX_SHELF:]
            self.post([chosen])

    def post(self, transactions: list[Transaction]) -> None:
        self.posted += transactions if len(transactions) == 1 else []
        expected = [self.run(answer(self.model, one)) for one in transactions]
        seen = self.run(answers(self.store, transactions, at_once=self.in_order))
        assert self.comparable(seen) == self.comparable(expected)

    def comparable(self, answers: list[object]) -> list[object]:
        return answers if self.in_order else [without_numbers(one) for one in answers]


async def all_of(ledger: Ledger, machine: Machine) -> list[object]:
    """Everything that can be asked, of everything that the model knows."""
    model = machine.model
    return [
        [await ledger.balance(user) for user in USERS],
        [await ledger.account_atoms(name) for name in sorted(model._accounts)],
        [without_cursors(await ledger.user_statement(user, limit=500)) for user in USERS],
        [without_cursors(await ledger.provider_statement(provider, limit=500)) for provider in PROVIDERS],
        [await ledger.provider_balance(provider) for provider in PROVIDERS],
        await ledger.due_earnings("99991231"),
        [await ledger.find_hold(order_id) for order_id in sorted(model._holds)],
        [await ledger.find_entry(transaction.key) for transaction in machine.posted[-3:]],
        [await ledger.find_record(kind, name) for kind, name in sorted(model._records)],
        [await ledger.records(kind, state) for kind, states in LISTED.items() for state in states],
        await ledger.open_holds(),
        await ledger.expired_holds(machine.programs.now_ms),
        await ledger.audit(),
    ]


def without_cursors(lines: Sequence[StatementLine]) -> list[StatementLine]:
    """Those are each backend's own."""
    return [replace(line, cursor="") for line in lines]


def without_numbers(answer: object) -> object:
    """Those are each store's own where nothing numbers all of it."""
    if isinstance(answer, list):
        return [without_numbers(one) for one in answer]
    if isinstance(answer, Posted):
        return replace(answer, entry=replace(answer.entry, sequence=0))
    return replace(answer, sequence=0) if isinstance(answer, Entry) else answer


async def answers(ledger: Ledger, transactions: list[Transaction], at_once: bool) -> list[object]:
    if at_once:
        return list(await asyncio.gather(*(answer(ledger, one) for one in transactions)))
    return [await answer(ledger, one) for one in transactions]


async def answer(ledger: Ledger, transaction: Transaction) -> object:
    try:
        return await ledger.post(transaction)
    except GollemError as error:
        return type(error), error.figures


# What the checks of the books write: records only, posted by tests/ledger/test_reconcile.py and test_low_balance.py.
WATCHING = {Kind.RECONCILIATION, Kind.PAYOUTS_HALTED, Kind.PAYOUTS_RESUMED, Kind.ALERT, Kind.ALERT_RULE}

# Examples and steps; each step asks a server everything.
EFFORT = {"dynamodb": (4, 12)}


@pytest.mark.usefixtures("dynamodb_endpoint")
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "model"])
def test_every_backend_equals_the_model(backend: str) -> None:
    examples, steps = EFFORT.get(backend, (15, 40))
    members = {"backend": staticmethod(BACKENDS[backend]), "in_order": backend != "dynamodb"}
    run_state_machine_as_test(
        type("MachineOfBackend", (Machine,), members),
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


async def test_programs_reach_every_type() -> None:
    """Or the comparison above would prove less than it says: each type happens, and most are refused at some time."""
    chance = random.Random(7)
    applied: set[Kind] = set()
    refused: set[Kind] = set()
    for _ in range(30):
        model = MemoryLedger()
        programs = Programs(model)
        shelf: list[Transaction] = []
        for _ in range(100):
            programs.now_ms += chance.choice((0, 1_000, DAY_MS))
            user, provider, share = chance.choice(USERS), chance.choice(PROVIDERS), chance.randint(0, 10_000)
            built = programs.beginnings(user, provider, share) if chance.random() < 0.3 else []
            built = built or programs.continuations(share) or programs.beginnings(user, provider, share)
            shelf = (shelf + built)[-MAX_SHELF:]
            for transaction in (chance.choice(built), chance.choice(shelf)):
                try:
                    if (await model.post(transaction)).applied:
                        applied.add(transaction.kind)
                except GollemError:
                    refused.add(transaction.kind)
        assert (await model.audit()).findings == []

    assert applied == set(Kind) - WATCHING
    never_refused = {Kind.PROMO, Kind.STRIPE_FEE, Kind.PLATFORM_PAYOUT, Kind.UNMATCHED, Kind.USER_FROZEN}
    never_refused |= {Kind.PURCHASE_CREATED, Kind.ADJUSTMENT_PROPOSED, Kind.NOTE}
    assert set(Kind) - WATCHING - refused <= never_refused
