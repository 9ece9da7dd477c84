"""How an order ends: settled by usage, voided, or expired by the sweeper."""

import json
import logging
from collections.abc import Callable

from gollem.clock import Clock
from gollem.errors import Forbidden, GollemError, HoldClosed, KeyReused, UnknownOrder
from gollem.exchange.commits import Commits
from gollem.exchange.floor import Floor
from gollem.exchange.leases import Leases, claim_of
from gollem.exchange.links import AgentLinks
from gollem.exchange.types import Outcome, Receipt, Terms, Usage
from gollem.ledger import Entry, Hold, HoldState, Ledger, Transaction, rules
from gollem.market import share
from gollem.nodes import Ended, Ending
from gollem.observability import note, traces

_log = logging.getLogger(__name__)

# The detail of a void's entry: the provider is there, and says that it never began.
REFUSED_BY_PROVIDER = "never started by its provider"
_ENDINGS = {Outcome.COMPLETED: Ending.SUCCEEDED, Outcome.FAILED: Ending.FAILED, Outcome.CANCELLED: Ending.CLOSED}


class Settlement:
    """The ledger decides which of settle, void and expiry wins; the floor follows."""

    def __init__(
        self,
        floor: Floor,
        ledger: Ledger,
        links: AgentLinks,
        leases: Leases,
        commits: Commits,
        clock: Clock,
        ended: Callable[[Hold, int], None] = lambda hold, charged_atoms: None,
    ) -> None:
        """`ended` hears of every order that this process ended, and what it was charged."""
        self._tell = ended
        self._floor = floor
        self._leases = leases
        self._commits = commits
        self._ledger = ledger
        self._links = links
        self._clock = clock

    async def settle(self, provider_id: str, order_id: str, usage: Usage, outcome: Outcome) -> Receipt:
        """Charge the usage, capped at what was granted, and return the rest.

        An order that failed or was cancelled before its first token costs nothing. Raises UnknownOrder, Forbidden,
        HoldClosed (voided or expired meanwhile), KeyReused (settled before with other figures).
        """
        note(order_id=order_id)
        hold = await self._ledger.find_hold(order_id)
        if hold is None:
            raise UnknownOrder(f"there is no order {order_id}", order_id=order_id)
        if hold.provider != provider_id:
            raise Forbidden(f"order {order_id} is not yours to settle", order_id=order_id)
        terms = Terms.from_text(hold.terms)
        charged = _chargeable(usage, outcome, terms)
        charge_atoms = terms.price.charge_atoms(charged.prompt_tokens, charged.completion_tokens)
        fee_atoms = share(charge_atoms, terms.fee_bps).fee_atoms
        detail = _detail(charged, outcome, charge_atoms, fee_atoms)
        transaction = rules.settle(hold, charge_atoms, fee_atoms, self._clock.now_ms(), detail)
        return await self._commits.run(self._post_settlement(hold, transaction, outcome))

    async def _post_settlement(self, hold: Hold, transaction: Transaction, outcome: Outcome) -> Receipt:
        order_id = hold.order_id
        try:
            with traces.span("settle", order_id=order_id, outcome=outcome.value):
                posted = await self._ledger.post(transaction)
        except KeyReused as error:
            raise KeyReused(f"order {order_id} was settled before with other figures", order_id=order_id) from error
        except HoldClosed:
            await self._release_if_closed(order_id)
            raise
        # A claim that is left here is of an order whose first answer was lost, or was given by another node.
        if posted.applied or self._floor.claim(order_id) is not None:
            self._ended(hold, _ENDINGS[outcome])
        receipt = _receipt(hold, posted.entry, replayed=not posted.applied)
        if posted.applied:
            self._tell(hold, receipt.charged_atoms)
        return receipt

    async def void(self, hold: Hold, why: str) -> None:
        """Return the whole hold. Raises HoldClosed."""
        await self._commits.run(self._post_void(hold, rules.void(hold, self._clock.now_ms(), why)))

    async def _post_void(self, hold: Hold, transaction: Transaction) -> None:
        try:
            posted = await self._ledger.post(transaction)
        except HoldClosed:
            await self._release_if_closed(hold.order_id)
            raise
        self._ended(hold, Ending.CLOSED)
        if posted.applied:
            self._tell(hold, 0)

    async def refused_by_provider(self, provider_id: str, order_id: str) -> None:
        """The provider will never serve this order. Orders that are not its own or are closed are passed over."""
        hold = await self._ledger.find_hold(order_id)
        if hold is not None and hold.provider == provider_id and hold.state is HoldState.OPEN:
            try:
                await self.void(hold, REFUSED_BY_PROVIDER)
            except HoldClosed:
                self._links.order_closed(order_id)

    async def expire_overdue(self, limit: int = 256) -> int:
        """Void holds past their deadline, `limit` at most. Returns how many."""
        expired = 0
        for hold in await self._ledger.expired_holds(self._clock.now_ms(), limit):
            try:
                posted = await self._ledger.post(rules.expire(hold, self._clock.now_ms()))
            except HoldClosed:
                continue  # settled or voided a moment ago
            except GollemError:
                _log.exception("expiry of %s failed; the next sweep tries again", hold.order_id)
                continue
            expired += posted.applied
            self._ended(hold, Ending.CLOSED)
            if posted.applied:
                self._tell(hold, 0)
        return expired

    async def release_ended(self, limit: int = 64) -> int:
        """Give back what is kept here for orders that are not open, and that this process did not see end: another node
        closed them, an answer was lost, or it was unknown whether they were committed.

        Looks at `limit` claims and `limit` cancellations, the next ones each time. Returns how many were not open."""
        ended = 0
        for order_id in dict.fromkeys(self._floor.next_claims(limit) + self._links.next_cancelled(limit)):
            claim = self._floor.claim(order_id)
            hold = await self._ledger.find_hold(order_id)
            if hold is None and self._floor.claim(order_id) is not claim:
                continue  # claimed again while this was read: the hold may have come since
            if hold is None and claim is not None and self._leases.may_be_committed(claim):
                continue
            if hold is None or hold.state is not HoldState.OPEN:
                self._release(order_id)
                if claim is not None and claim.fence:
                    self._leases.end(claim.lease)
                ended += 1
        return ended

    async def receipt(self, hold: Hold) -> Receipt | None:
        """What the order cost; None unless it is settled."""
        entry = await self._ledger.find_entry(f"settle:{hold.order_id}")
        return _receipt(hold, entry, replayed=True) if entry else None

    async def outcome(self, hold: Hold) -> Outcome | None:
        """How the order ended by its provider's word; None unless it is settled."""
        entry = await self._ledger.find_entry(f"settle:{hold.order_id}")
        return Outcome(json.loads(entry.detail)["outcome"]) if entry else None

    async def _release_if_closed(self, order_id: str) -> bool:
        hold = await self._ledger.find_hold(order_id)
        closed = hold is not None and hold.state is not HoldState.OPEN
        if closed:
            self._release(order_id)
        return closed

    def _release(self, order_id: str) -> None:
        self._floor.release(order_id)
        self._links.order_closed(order_id)

    def _ended(self, hold: Hold, ending: Ending) -> None:
        """The same, and all nodes hear of it."""
        claim = self._floor.claim(hold.order_id)
        if claim is None or claim.fence != hold.fence:
            claim = claim_of(hold)
        lease = claim.lease
        self._floor.ended(Ended(lease.ask_key, lease.model, lease.order_id, ending))
        self._links.order_closed(hold.order_id)
        self._leases.end(lease)


def _chargeable(usage: Usage, outcome: Outcome, terms: Terms) -> Usage:
    """The usage that counts: within the caps, and nothing unless something was delivered."""
    if outcome is not Outcome.COMPLETED and not usage.completion_tokens:
        return Usage(0, 0)
    return Usage(min(usage.prompt_tokens, terms.prompt_tokens), min(usage.completion_tokens, terms.max_tokens))


def _detail(charged: Usage, outcome: Outcome, charge_atoms: int, fee_atoms: int) -> str:
    """What the settlement's entry says beside its legs, so that a replay can be answered from it."""
    return json.dumps(
        {
            "prompt_tokens": charged.prompt_tokens,
            "completion_tokens": charged.completion_tokens,
            "outcome": outcome.value,
            "charged_atoms": charge_atoms,
            "fee_atoms": fee_atoms,
        },
        separators=(",", ":"),
    )


def _receipt(hold: Hold, entry: Entry, replayed: bool) -> Receipt:
    detail = json.loads(entry.detail)
    return Receipt(
        order_id=hold.order_id,
        held_atoms=hold.amount_atoms,
        charged_atoms=detail["charged_atoms"],
        fee_atoms=detail["fee_atoms"],
        usage=Usage(detail["prompt_tokens"], detail["completion_tokens"]),
        replayed=replayed,
    )
