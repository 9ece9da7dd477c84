"""Consumers' use cases: match, quote, cancel."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from gollem.clock import Clock, stopwatch_s
from gollem.config import ExchangeConfig, MarketConfig
from gollem.errors import (
    BookUnavailable,
    CapacityExhausted,
    GollemError,
    HoldClosed,
    InsufficientCredits,
    InvariantBroken,
    KeyReused,
    LedgerUnavailable,
    NoFeasibleAsk,
    OrderMismatch,
    OutcomeUnknown,
    SpendLimitReached,
    UnknownOrder,
)
from gollem.exchange.commits import Commits
from gollem.exchange.floor import Claim, Floor
from gollem.exchange.leases import Leases, claim_of
from gollem.exchange.links import AgentLinks
from gollem.exchange.refusals import refusal, taken
from gollem.exchange.settlement import Settlement
from gollem.exchange.spending import Spending
from gollem.exchange.tally import Tally
from gollem.exchange.tape import Tape
from gollem.exchange.types import Cancelled, CancelState, Matched, Terms, bid_fingerprint
from gollem.exchange.waiting import WaitingRoom
from gollem.ledger import Hold, HoldState, Ledger, accounts
from gollem.market import Bid, Catalogue, Match, Quote, Rejection
from gollem.nodes import Granted
from gollem.observability import note, traces
from gollem.units import format_fixed

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Flight:
    """A match under way, and how many callers wait for it. Once it is committing it runs to its end."""

    user: str
    fingerprint: str
    task: asyncio.Task[Matched]
    callers: int = 0
    committing: bool = False
    rested: bool = False


class Orders:
    """Match picks from the floor and commits in the ledger; the ledger's answer decides."""

    def __init__(
        self,
        floor: Floor,
        ledger: Ledger,
        catalogue: Catalogue,
        settlement: Settlement,
        links: AgentLinks,
        leases: Leases,
        waiting: WaitingRoom,
        commits: Commits,
        clock: Clock,
        market: MarketConfig,
        config: ExchangeConfig,
        debited: Callable[[str], None] = lambda user: None,
        spending: Spending | None = None,
        tape: Tape | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._floor = floor
        self._debited = debited
        self._spending = spending or Spending(ledger, clock)
        self._tape = tape or Tape(clock)
        self._ledger = ledger
        self._catalogue = catalogue
        self._settlement = settlement
        self._links = links
        self._leases = leases
        self._waiting = waiting
        self._clock = clock
        self._fee_bps = market.fee_bps
        self._config = config
        self._commits = commits
        self._flights: dict[str, _Flight] = {}
        self.tally = tally or Tally()

    # --- match ------------------------------------------------------------------------------------------------------

    async def match(self, user: str, order_id: str, bid: Bid, good_for_ms: int = 0, alternates: int = 3) -> Matched:
        """The best ask within every limit, claimed and paid into escrow.

        Raises NoFeasibleAsk or CapacityExhausted (after `good_for_ms` of rest), InsufficientCredits, AccountFrozen,
        OrderMismatch, SpendLimitReached, OutcomeUnknown. A replay is answered with the first result, whatever the book
        says now; one that comes while the first is under way waits for it.
        """
        fingerprint = bid_fingerprint(user, bid)
        flight = self._flights.get(order_id)
        joined = flight is not None
        if flight is None:
            work = self._match(user, order_id, bid, fingerprint, good_for_ms, alternates)
            flight = self._flights[order_id] = _Flight(user, fingerprint, self._commits.start(work))
            flight.task.add_done_callback(lambda _: self._flights.pop(order_id, None))
        elif flight.fingerprint != fingerprint:
            raise _mismatch(order_id)
        try:
            matched = await self._on_board(flight)
        except GollemError as error:
            self.tally.refused(bid.model, error)
            raise
        return replace(matched, alternates=(), replayed=True) if joined else matched

    def quote(self, bid: Bid) -> Quote:
        return self._floor.quote(bid)

    async def _on_board(self, flight: "_Flight") -> Matched:
        """Wait for the outcome. When the last caller leaves before anything is committed, the attempt ends."""
        flight.callers += 1
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            if flight.callers == 1 and not flight.committing:
                flight.task.cancel()
            raise
        finally:
            flight.callers -= 1

    async def _match(
        self, user: str, order_id: str, bid: Bid, fingerprint: str, good_for_ms: int, alternates: int
    ) -> Matched:
        """What cannot be had may have been had before: then that is the answer."""
        refused: GollemError = taken()
        note(order_id=order_id, match_id=accounts.hold_key(order_id))
        began_s, flight = stopwatch_s(), self._flights[order_id]
        try:
            with traces.span("match", order_id=order_id, model=bid.model):
                if matched := await self._attempt(user, order_id, bid, fingerprint, good_for_ms, alternates):
                    return matched
        except BookUnavailable as error:
            refused = error
        finally:
            if not flight.rested:
                self.tally.timed(stopwatch_s() - began_s)
        if replay := await self._replay(user, order_id, fingerprint):
            return replay
        raise refused

    async def _attempt(
        self, user: str, order_id: str, bid: Bid, fingerprint: str, good_for_ms: int, alternates: int
    ) -> Matched | None:
        """Pick here, then ask for the room: other nodes may have taken what this one does not know of yet. None if they
        had, time and again, or if nobody waits for the answer any more."""
        until_ms, flight = self._clock.monotonic_ms() + good_for_ms, self._flights[order_id]
        tries = self._leases.tries
        while tries and (tries == self._leases.tries or flight.callers):
            tries -= 1
            flight.committing = False
            result = self._floor.match(bid, alternates)
            if isinstance(result, Rejection):
                if replay := await self._replay(user, order_id, fingerprint):
                    return replay
                result = await self._rest(user, order_id, bid, result, until_ms, alternates)
                tries = self._leases.tries - 1  # its time, not its luck, says when it has waited enough
            flight.committing = True
            with traces.span("claim", order_id=order_id, ask=result.offer.ask.key):
                granted = await self._leases.claim(order_id, result)
            if granted:
                return await self._commit(user, order_id, bid, result, granted)
        return None

    async def _rest(
        self, user: str, order_id: str, bid: Bid, rejection: Rejection, until_ms: int, alternates: int
    ) -> Match:
        good_for_ms = until_ms - self._clock.monotonic_ms()
        if good_for_ms <= 0:
            self._tape.refused(bid, rejection)
            raise refusal(rejection)
        self._flights[order_id].rested = True
        await self._check_can_pay(user)
        try:
            return await self._waiting.wait(user, order_id, bid, good_for_ms, alternates)
        except (NoFeasibleAsk, CapacityExhausted):
            self._tape.refused(bid, rejection)
            raise

    async def _check_can_pay(self, user: str) -> None:
        """A bid that could never be paid for must not take another's place."""
        if (await self._ledger.balance(user)).available_atoms <= 0:
            nothing = format_fixed(0)
            raise InsufficientCredits("a bid may rest once the account has credits", needed=nothing, available=nothing)

    async def _commit(self, user: str, order_id: str, bid: Bid, match: Match, granted: Granted) -> Matched:
        hold, ask = self._hold(user, order_id, bid, match, granted.fence), match.offer.ask
        claim = Claim(order_id, ask.key, ask.model, match.claimed_tokens, hold.opened_at_ms, granted.fence)
        fingerprint = bid_fingerprint(user, bid)
        try:
            with self._leases.extended(claim.lease), traces.span("hold", order_id=order_id, atoms=hold.amount_atoms):
                posted = await self._spending.open(hold, fingerprint)
        except KeyReused as error:
            self._give_up(match, claim)
            raise _mismatch(order_id) from error
        except SpendLimitReached:
            self._give_up(match, claim)
            # The order may be among those that have used the limit up.
            if replay := await self._replay(user, order_id, fingerprint):
                return replay
            raise
        except OutcomeUnknown:
            # The hold may be there. `Settlement.release_ended` looks, and gives the room back if it does not come.
            self._keep(replace(claim, opened_at_ms=self._clock.now_ms()), hold)
            raise
        except Exception:
            self._give_up(match, claim)
            raise
        except BaseException:  # this process ends: the lease runs out by itself
            self._floor.undo(match)
            raise
        if not posted.applied:
            self._give_up(match, claim)
            replay = await self._replay(user, order_id, fingerprint)
            if replay is None:
                raise InvariantBroken(f"{accounts.hold_key(order_id)} is in the journal but its hold is not there")
            return replay
        self._debited(user)
        self._tape.matched(bid, match.offer)
        self._keep(claim, hold)
        self.tally.matched(ask.model)
        _log.debug("matched %s to %s for at most %d atoms", ask.model, ask.key, hold.amount_atoms)
        terms = Terms.from_text(hold.terms)
        return Matched(
            order_id,
            terms,
            hold.amount_atoms,
            await self._available_atoms(user),
            hold.expires_at_ms,
            match.alternates,
            replayed=False,
            fence=hold.fence,
            degraded=granted.degraded,
        )

    def _keep(self, claim: Claim, hold: Hold) -> None:
        self._floor.confirm(claim)
        self._leases.keep(claim.lease, hold.expires_at_ms)

    def _give_up(self, match: Match, claim: Claim) -> None:
        self._floor.undo(match)
        self._leases.give_up(claim.lease)

    def _hold(self, user: str, order_id: str, bid: Bid, match: Match, fence: int) -> Hold:
        offer, ask, now_ms = match.offer, match.offer.ask, self._clock.now_ms()
        terms = Terms(
            provider_id=ask.provider_id,
            ask_id=ask.ask_id,
            model=ask.model,
            gpu_type=ask.gpu_type,
            endpoint=ask.endpoint,
            price_ticks=ask.price_ticks,
            completion_price_ticks=ask.completion_price_ticks,
            model_micro=self._catalogue.resolve(ask.model).multiplier_micro,
            gpu_centi=self._catalogue.gpu(ask.gpu_type),
            prompt_tokens=bid.prompt_tokens,
            max_tokens=bid.max_tokens,
            latency_us=offer.latency_us,
            tpot_ns=offer.tpot_ns,
            measured=offer.measured,
            front_size=match.front_size,
            fee_bps=self._fee_bps,
            matched_at_ms=now_ms,
            grant_expires_at_ms=now_ms + self._config.grant_ttl_ms,
        )
        return Hold(
            order_id=order_id,
            user=user,
            provider=ask.provider_id,
            amount_atoms=offer.cost_atoms,
            opened_at_ms=now_ms,
            expires_at_ms=now_ms + self._lifetime_ms(terms),
            terms=terms.to_text(),
            fence=fence,
        )

    def _lifetime_ms(self, terms: Terms) -> int:
        """Time to start, thrice the expected length, and grace to settle."""
        expected_ms = (terms.latency_us * 1_000 + terms.max_tokens * terms.tpot_ns) // 1_000_000
        lifetime_ms = self._config.grant_ttl_ms + 3 * expected_ms + self._config.settle_grace_ms
        return min(lifetime_ms, self._config.max_order_ms)

    async def _replay(self, user: str, order_id: str, fingerprint: str) -> Matched | None:
        """The first answer of an order that was matched before; None if it was not."""
        entry = await self._ledger.find_entry(accounts.hold_key(order_id))
        if entry is None:
            return None
        hold = await self._ledger.find_hold(order_id)
        if hold is None or entry.fingerprint != fingerprint:
            raise _mismatch(order_id)
        terms = Terms.from_text(hold.terms)
        if hold.state is HoldState.OPEN and self._floor.claim(order_id) is None:
            # Its hold was written after this process had given up on it, or through another node.
            claim = claim_of(hold)
            self._floor.restore(claim)
            self._leases.keep(claim.lease, hold.expires_at_ms)
        return Matched(
            order_id,
            terms,
            hold.amount_atoms,
            await self._available_atoms(user),
            hold.expires_at_ms,
            alternates=(),
            replayed=True,
            fence=hold.fence,
        )

    async def _available_atoms(self, user: str) -> int:
        """For the answer to an order that is committed. Raises OutcomeUnknown: that nothing was written, as a ledger
        that cannot be read says, would no longer be true."""
        try:
            return (await self._ledger.balance(user)).available_atoms
        except LedgerUnavailable as error:
            raise OutcomeUnknown("the order is committed, but its balance cannot be read: repeat the call") from error

    # --- cancel -----------------------------------------------------------------------------------------------------

    async def cancel(self, user: str, order_id: str) -> Cancelled:
        """Undo a resting bid, or an order that its provider has not started. Raises UnknownOrder."""
        if self._waiting.cancel(user, order_id):
            return Cancelled(CancelState.CANCELLED, 0)
        flight = self._flights.get(order_id)
        if flight is not None and flight.user == user:
            await asyncio.wait({flight.task}, timeout=self._config.cancel_wait_ms / 1_000)
            if self._waiting.cancel(user, order_id):
                return Cancelled(CancelState.CANCELLED, 0)
        hold = await self._own_hold(user, order_id)
        if hold.state is not HoldState.OPEN:
            return await self._closed(hold)
        terms = Terms.from_text(hold.terms)
        claim = self._floor.claim(order_id)
        started = claim is not None and claim.started
        if not started and not self._links.reachable(hold.provider):
            return await self._void(hold, terms.ask_key)
        answered = self._links.ask_to_cancel(terms.ask_key, terms.model, order_id)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(answered.wait(), self._config.cancel_wait_ms / 1_000)
        return await self._closed(await self._own_hold(user, order_id))

    async def _void(self, hold: Hold, ask_key: str) -> Cancelled:
        """Nobody is there to be asked. Should the agent come back before the order's time is over, it is told."""
        try:
            await self._settlement.void(hold, "cancelled by its consumer, its provider silent")
            self._links.tell_to_stop(ask_key, hold.order_id, hold.expires_at_ms)
        except HoldClosed:
            return await self._closed(await self._own_hold(hold.user, hold.order_id))
        return Cancelled(CancelState.CANCELLED, hold.amount_atoms)

    async def _own_hold(self, user: str, order_id: str) -> Hold:
        hold = await self._ledger.find_hold(order_id)
        if hold is None or hold.user != user:
            raise UnknownOrder(f"you have no order {order_id}", order_id=order_id)
        return hold

    async def _closed(self, hold: Hold) -> Cancelled:
        if hold.state is HoldState.OPEN:
            return Cancelled(CancelState.PENDING, 0)
        if hold.state is not HoldState.SETTLED:
            return Cancelled(CancelState.CANCELLED, hold.amount_atoms)
        receipt = await self._settlement.receipt(hold)
        return Cancelled(CancelState.SETTLED, receipt.refunded_atoms if receipt else 0)


def _mismatch(order_id: str) -> OrderMismatch:
    return OrderMismatch(f"order {order_id} was another bid before: use a new order_id", order_id=order_id)
