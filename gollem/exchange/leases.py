"""Leases of orders on capacity that several nodes sell: asked for before a hold, kept with it, given back at its end.

A process alone is granted everything at once. The hold in the ledger decides whether there is an order; a lease only
keeps nodes from selling the same room twice. So what goes wrong with one is mended later, and never stands in the way.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gollem.clock import Clock
from gollem.config import NodesConfig
from gollem.errors import BookUnavailable, LedgerUnavailable, WorldError
from gollem.exchange.commits import Commits
from gollem.exchange.floor import Claim, Floor
from gollem.exchange.silence import Silence
from gollem.exchange.types import Terms
from gollem.ledger import Hold, HoldState, Ledger
from gollem.market import Match
from gollem.nodes import ClaimRequest, Granted, Lease, Refused, SharedBook

_log = logging.getLogger(__name__)
_PAGE = 1_000
_ALONE = Granted(fence=0)
_ANY_FENCE = 2**63


def claim_of(hold: Hold) -> Claim:
    """What an order takes of its ask's capacity, by its hold alone: any node can tell."""
    terms = Terms.from_text(hold.terms)
    return Claim(hold.order_id, terms.ask_key, terms.model, terms.tokens, hold.opened_at_ms, hold.fence)


class Leases:
    def __init__(
        self, shared: SharedBook, floor: Floor, ledger: Ledger, commits: Commits, clock: Clock, config: NodesConfig
    ) -> None:
        self._shared = shared
        self._floor = floor
        self._ledger = ledger
        self._commits = commits
        self._clock = clock
        self._config = config
        self._silence = Silence(clock)
        self._is_alone = config.is_alone  # then the floor's own claim is all there is
        self._to_renew: OrderedDict[str, tuple[Lease, int]] = OrderedDict()
        self._to_restore: dict[int, int] = {}  # by partition, the fence below which leases may be gone
        self._to_restore_again: dict[int, tuple[int, int]] = {}  # the same, and when to look a second time
        self._restoring = asyncio.Lock()  # partitions are lost together: one reading of the holds does for all

    def __len__(self) -> int:
        """Leases that are still to be renewed."""
        return len(self._to_renew)

    @property
    def tries(self) -> int:
        """Asks that are asked for before a bid is refused."""
        return self._config.claim_tries

    async def claim(self, order_id: str, match: Match) -> Granted | None:
        """Room for a match of this node, also as the others see it. None: there is none, and it is undone.

        Raises, the match undone, BookUnavailable once this node has been cut off for too long, and LedgerUnavailable
        while the ledger does not answer it: room that this node cannot sell is for the others to sell."""
        if self._is_alone:
            return _ALONE
        try:
            self._silence.check()
        except LedgerUnavailable:
            self._floor.undo(match)
            raise
        request = self._request(order_id, match)
        while True:
            asked_ms = self._clock.monotonic_ms()
            try:
                answer = await self._shared.claim(request)
            except BaseException:
                self._floor.undo(match)
                raise
            if isinstance(answer, Refused):
                self._refused(match, answer)
                return None
            if self._clock.monotonic_ms() - asked_ms < request.lease_ms:
                return answer
            # This process stood still meanwhile: the lease may be another's by now.

    @contextmanager
    def extended(self, lease: Lease) -> Iterator[None]:
        """While its hold is being written the lease does not run out, however long the ledger takes: unless this
        process stands still."""
        if self._is_alone:
            yield
            return
        extending = asyncio.get_running_loop().create_task(self._extend(lease))
        try:
            with self._silence.waiting():
                yield
        finally:
            extending.cancel()

    def keep(self, lease: Lease, until_ms: int) -> None:
        """Its order is committed, or may be: hold the room to the deadline."""
        if self._is_alone:
            return
        self._to_renew[lease.order_id] = lease, until_ms
        self._commits.start(self._renew(lease.order_id))

    def end(self, lease: Lease) -> None:
        """Its order has ended."""
        if self._is_alone:
            return
        self._to_renew.pop(lease.order_id, None)
        self._commits.start(self._shared.release(lease))

    def may_be_committed(self, claim: Claim) -> bool:
        """Whether a hold that is not there may still come: an attempt whose answer was lost can be written for a while.
        A process alone does not wait for it: the agent's own count has to do."""
        return bool(claim.fence) and self._clock.now_ms() - claim.opened_at_ms < self._config.lease_ms

    def give_up(self, lease: Lease) -> None:
        """This match came to nothing; but the same order may have been matched to the same lease by another node."""
        if not self._is_alone:
            self._commits.start(self._give_up(lease))

    async def renew_waiting(self) -> None:
        """What could not be kept when its order was committed."""
        for order_id in list(self._to_renew):
            await self._renew(order_id)
            if order_id in self._to_renew:
                return  # the shared book is away

    def lost(self, partition: int) -> None:
        """Leases of this partition may be gone. `restore_lost` brings back those of open orders."""
        self._look_twice({partition: _ANY_FENCE})

    def joined(self) -> None:
        """This node has started, and hears the others. What Redis holds may have begun when no node was there to see
        that it had lost something: leases from before that are lost. A fence is a moment of Redis's time."""
        if not self._is_alone:
            self._look_twice(dict.fromkeys(range(self._config.partitions), self._shared.status().epoch))

    async def restore_lost(self) -> None:
        """From the open holds of the ledger: orders of nodes that are gone are among them."""
        async with self._restoring:
            self._may_be_lost(self._due_again())
            partitions, self._to_restore = self._to_restore, {}
            if not partitions:
                return
            try:
                await self._restore(partitions)
            except WorldError as error:
                _log.warning("leases of open orders are not restored yet: %s", error)
                self._may_be_lost(partitions)

    def _look_twice(self, partitions: dict[int, int]) -> None:
        """Now, and once what was on its way to the ledger is there: a hold whose node has died is told by nobody."""
        again_ms = self._clock.monotonic_ms() + self._config.lease_ms
        for partition, fence in partitions.items():
            self._to_restore_again[partition] = max(fence, self._to_restore_again.get(partition, (0, 0))[0]), again_ms
        self._may_be_lost(partitions)
        self._commits.start(self.restore_lost())

    def _due_again(self) -> dict[int, int]:
        now_ms = self._clock.monotonic_ms()
        due = {partition: fence for partition, (fence, at_ms) in self._to_restore_again.items() if at_ms <= now_ms}
        for partition in due:
            del self._to_restore_again[partition]
        return due

    def _may_be_lost(self, partitions: dict[int, int]) -> None:
        for partition, fence in partitions.items():
            self._to_restore[partition] = max(fence, self._to_restore.get(partition, 0))

    async def _restore(self, partitions: dict[int, int]) -> None:
        restored, asked, after = 0, 0, ""
        while page := await self._ledger.open_holds(after, _PAGE):
            now_ms, after = self._clock.now_ms(), page[-1].order_id
            leases = [
                (claim_of(hold).lease, hold.expires_at_ms - now_ms) for hold in page if hold.expires_at_ms > now_ms
            ]
            lost = [each for each in leases if each[0].fence < partitions.get(self._partition(each[0]), 0)]
            asked += len(lost)
            restored += await self._shared.restore(lost)
        if restored < asked:
            # Whoever repeated an order whose lease was lost has it under a higher fence, until it hears of the hold.
            self._may_be_lost(partitions)
        _log.info("%d leases of open orders were restored", restored)

    def _partition(self, lease: Lease) -> int:
        return self._shared.partition_of(lease.model)

    async def _extend(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(self._config.lease_ms / 3_000)
            with suppress(BookUnavailable):
                await self._shared.renew(lease, self._config.lease_ms)

    async def _renew(self, order_id: str) -> None:
        lease, until_ms = self._to_renew.get(order_id, (None, 0))
        if lease is None:
            return
        left_ms = until_ms - self._clock.now_ms()
        try:
            if left_ms > 0:
                await self._shared.renew(lease, left_ms)
        except BookUnavailable:
            return
        self._to_renew.pop(order_id, None)
        if self._floor.claim(order_id) is None:  # it has ended meanwhile, and its release may have been overtaken
            await self._shared.release(lease)

    async def _give_up(self, lease: Lease) -> None:
        """Also while the ledger is away: otherwise each try here would take room from the nodes that do reach it. What
        another node has committed is renewed for longer than it was claimed for."""
        try:
            hold = await self._ledger.find_hold(lease.order_id)
        except WorldError:
            await self._shared.release(lease, unless_left_ms=self._config.lease_ms)
            return
        if hold is None or hold.state is not HoldState.OPEN or claim_of(hold).lease != lease:
            await self._shared.release(lease)

    def _request(self, order_id: str, match: Match) -> ClaimRequest:
        ask = match.offer.ask
        promise = self._floor.promise(ask.key) or ask
        return ClaimRequest(
            order_id,
            ask.key,
            ask.model,
            match.claimed_tokens,
            self._config.lease_ms,
            promise.capacity_tokens,
            promise.capacity_slots,
        )

    def _refused(self, match: Match, answer: Refused) -> None:
        self._floor.undo(match)
        if answer.degraded:
            raise BookUnavailable("this node has been cut off from the others for too long: repeat the call")
        self._floor.lower(match.offer.ask.key, answer.free_tokens, answer.free_slots)
