"""Posting: what goes into one request, and what its answer means for each transaction in it.

Transactions that may contend in this process wait for each other in a lane: a user's, or else the key's. While one
request of a lane is under way the next gathers, so that a busy user's account changes once for many transactions. What
is refused is split until only the guilty one is refused; the key decides before any guard does.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from gollem.clock import Clock
from gollem.errors import GollemError, InvariantBroken, LedgerUnavailable, OutcomeUnknown
from gollem.ledger import refusals
from gollem.ledger.accounts import is_user
from gollem.ledger.dynamodb import items
from gollem.ledger.dynamodb.changes import changes_of
from gollem.ledger.dynamodb.client import Client
from gollem.ledger.dynamodb.pace import Pace
from gollem.ledger.dynamodb.plan import Part, Plan, compile_part, touched
from gollem.ledger.dynamodb.snapshot import Snapshot
from gollem.ledger.types import Posted, Transaction

MAX_WAITING = 8_192
MAX_GROUP = 49  # holds of one user: two items each, its account and its statement are one request
_MAX_TURNS = 8  # of one transaction whose guards change between the write and the look


@dataclass(slots=True, eq=False)
class _Waiting:
    """A transaction and whoever waits for its answer, until `until_ms` (monotonic). `may_be_under_way`: a request with
    it was lost on its way, so that nobody may say any more that nothing was written."""

    transaction: Transaction
    future: asyncio.Future[Posted]
    until_ms: int
    may_be_under_way: bool = False


@dataclass(slots=True)
class _Lane:
    queue: deque[_Waiting] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class Writer:
    """At most `max_waiting` posts wait at once, over all lanes, and none begins when it has waited as long as one call
    may take."""

    def __init__(
        self, client: Client, clock: Clock, max_waiting: int = MAX_WAITING, max_group: int = MAX_GROUP
    ) -> None:
        self._client = client
        self._clock = clock
        self.pace = Pace(client, clock)
        self._max_waiting = max_waiting
        self._max_group = max_group
        self._lanes: dict[str, _Lane] = {}
        self._waiting = 0
        self._last_number = 0
        self._closing = False

    async def post(self, transaction: Transaction) -> Posted:
        """Raises what `Ledger.post` raises, LedgerUnavailable at once when too many wait."""
        if self._closing:
            raise LedgerUnavailable("the ledger is closed")
        if self._waiting >= self._max_waiting:
            raise LedgerUnavailable(f"{self._max_waiting} transactions wait already")
        name = _lane_of(transaction)
        lane = self._lanes.setdefault(name, _Lane())
        until_ms = self._clock.monotonic_ms() + self._client.budget_ms
        waiting = _Waiting(transaction, asyncio.get_running_loop().create_future(), until_ms)
        lane.queue.append(waiting)
        self._waiting += 1
        if lane.task is None:
            lane.task = asyncio.create_task(self._work(name, lane))
        return await waiting.future

    async def drain(self) -> None:
        """Take nothing more, and finish what waits."""
        self._closing = True
        await asyncio.gather(*(lane.task for lane in list(self._lanes.values()) if lane.task))

    async def _work(self, name: str, lane: _Lane) -> None:
        """One request after the other until nothing waits; then the lane is gone."""
        while lane.queue:
            group = self._gather(lane.queue)
            try:
                await self._commit(group)
            except Exception as error:
                for waiting in group:
                    _fail(waiting, error)
            finally:
                self._waiting -= len(group)
        del self._lanes[name]

    def _gather(self, queue: deque[_Waiting]) -> list[_Waiting]:
        """What one request can take, in order; at least one."""
        group = [queue.popleft()]
        keys = {group[0].transaction.key}
        while queue and len(group) < self._max_group and queue[0].transaction.key not in keys:
            group.append(queue.popleft())
            keys.add(group[-1].transaction.key)
        return group

    # --- one request ------------------------------------------------------------------------------------------------

    async def _commit(self, group: list[_Waiting]) -> None:
        """Answer each of the group, in as many requests as it takes."""
        while group := self._in_time(group):
            await self.pace.keep()
            plan, taken, group = self._plan(group)
            if len(taken) == 1:
                await self._commit_one(taken[0])
            elif taken:
                await self._commit_many(taken, plan)

    def _in_time(self, group: list[_Waiting]) -> list[_Waiting]:
        """The rest has waited for others too long, and is told so."""
        now_ms = self._clock.monotonic_ms()
        for waiting in group:
            if now_ms > waiting.until_ms:
                _fail(waiting, LedgerUnavailable(f"no answer within {self._client.budget_ms} ms"))
        return [waiting for waiting in group if now_ms <= waiting.until_ms]

    def _plan(self, group: list[_Waiting]) -> tuple[Plan, list[_Waiting], list[_Waiting]]:
        """The first of the group that go into one request together, and the rest."""
        plan = Plan(self._client.table)
        taken: list[_Waiting] = []
        for place, waiting in enumerate(group):
            try:
                part = self._compile(waiting.transaction)
            except InvariantBroken as error:
                _fail(waiting, error)
                continue
            if not plan.add(part):
                return plan, taken, group[place:]
            taken.append(waiting)
        return plan, taken, []

    async def _commit_many(self, group: list[_Waiting], plan: Plan) -> None:
        refused = await self._write(plan, group)
        if not refused:
            for waiting, part in zip(group, plan.parts, strict=True):
                _answer(waiting, Posted(applied=True, entry=part.entry))
            return
        guilty = {part.transaction.key for part in plan.guilty(refused)}
        if guilty:
            alone = [waiting for waiting in group if waiting.transaction.key in guilty]
            others = [waiting for waiting in group if waiting.transaction.key not in guilty]
            for waiting in alone:
                await self._commit([waiting])
            await self._commit(others)
        else:
            middle = len(group) // 2
            await self._commit(group[:middle])
            await self._commit(group[middle:])

    async def _write(self, plan: Plan, group: list[_Waiting]) -> frozenset[int]:
        """One request: the places that were refused."""
        written = await self._client.write(plan.writes(), plan.entries())
        for waiting in group:
            waiting.may_be_under_way |= written.may_be_under_way
        return written.refused

    async def _commit_one(self, waiting: _Waiting) -> None:
        try:
            _answer(waiting, await self._post_alone(waiting))
        except GollemError as error:
            _fail(waiting, error)

    async def _post_alone(self, waiting: _Waiting) -> Posted:
        """A refusal is believed only when a consistent look, at the key first, finds its reason. Each request has a
        number of its own, so that none is older than one request may take."""
        transaction = waiting.transaction
        for _ in range(_MAX_TURNS):
            await self.pace.keep()
            plan = Plan(self._client.table)
            plan.add(self._compile(transaction))
            if not await self._write(plan, [waiting]):
                return Posted(applied=True, entry=plan.parts[0].entry)
            seen = await Snapshot.take(self._client, touched(transaction))
            first = seen.entry(transaction.key)
            if first:
                return refusals.replayed(first, transaction.fingerprint)
            refusals.require(transaction, seen)
            _require_range(transaction, seen)
            if self._clock.monotonic_ms() > waiting.until_ms:
                break
        raise LedgerUnavailable(f"{transaction.key}: what it depends on keeps changing")

    def _compile(self, transaction: Transaction) -> Part:
        return compile_part(self._client.table, transaction, self._next_number())

    def _next_number(self) -> int:
        """Orders the journal: by the table's time, but never back on this machine, whatever its clock does."""
        self._last_number = max(self._last_number + 1, items.first_number(self.pace.now_ms()))
        return self._last_number


def _lane_of(transaction: Transaction) -> str:
    for leg in transaction.legs:
        if is_user(leg.account):
            return leg.account
    return f"key {transaction.key}"


def _require_range(transaction: Transaction, seen: Snapshot) -> None:
    for account, change in changes_of(transaction).items():
        if not change.in_range(seen.balance_atoms(account), seen.held_atoms(account)):
            raise InvariantBroken(f"{transaction.key}: {account} would leave its range")


def _answer(waiting: _Waiting, posted: Posted) -> None:
    if not waiting.future.done():  # its caller may have been cancelled
        waiting.future.set_result(posted)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if waiting.may_be_under_way and isinstance(error, LedgerUnavailable):
        error = OutcomeUnknown(f"{error.message}; a request before may have been written")
    if not waiting.future.done():
        waiting.future.set_exception(error)
