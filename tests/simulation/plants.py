"""Bugs that a hand might make, each planted in a running simulation to prove that the auditor finds it."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from msgspec.structs import replace

from gollem.errors import OutcomeUnknown
from gollem.exchange import Accounts, Orders, Settlement, Usage, orders, settlement
from gollem.exchange.floor import Floor
from gollem.exchange.leases import Leases
from gollem.ledger import refusals, rules
from gollem.ledger.memory import MemoryLedger
from gollem.ledger.rules import disputes, purchases
from gollem.ledger.types import BalanceIs, Leg, Posted, UserActive
from gollem.nodes import Granted, Refused, redis_client
from gollem.nodes.claims import Claims
from gollem.nodes.follower import Follower
from gollem.nodes.outage import Outage
from gollem.nodes.shared_time import SharedTime
from tests.simulation import books, node

_Swap = tuple[Any, str, Any]
_MEETS, _REQUIRE = refusals._meets, refusals._require_guard
_CONFIRM, _UNDO = Floor.confirm, Floor.undo
_SETTLE, _POST = Settlement.settle, MemoryLedger.post
_CLAIM = Claims.claim


@contextmanager
def _swapped(*swaps: _Swap) -> Iterator[None]:
    with ExitStack() as stack:
        for owner, name, value in swaps:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


def planted(name: str) -> AbstractContextManager[None]:
    """While it is entered, simulations of this process have the bug of this name."""
    return _swapped(*PLANTS[name]())


# --- in the ledger --------------------------------------------------------------------------------------------------


def fingerprints_are_not_compared() -> list[_Swap]:
    return [(refusals, "replayed", lambda first, transaction: Posted(applied=False, entry=first))]


def users_may_overdraw() -> list[_Swap]:
    return [(refusals, "_require_available", lambda needed_atoms, available_atoms: None)]


def a_hold_is_closed_whatever_its_state() -> list[_Swap]:
    return [(refusals, "_meets", lambda hold, guard: hold is not None)]


def the_sweeper_ignores_the_state() -> list[_Swap]:
    async def overdue(self: MemoryLedger, now_ms: int, limit: int = 256) -> Any:
        return [hold for hold in self._holds.values() if hold.expires_at_ms <= now_ms][:limit]

    def meets(hold: Any, guard: Any) -> bool:
        return guard.expired_by_ms is not None or _MEETS(hold, guard)

    return [(MemoryLedger, "expired_holds", overdue), (refusals, "_meets", meets)]


def the_sweeper_ignores_the_deadline() -> list[_Swap]:
    async def every_open_one(self: MemoryLedger, now_ms: int, limit: int = 256) -> Any:
        return (await self.open_holds())[:limit]

    def meets(hold: Any, guard: Any) -> bool:
        return _MEETS(hold, replace(guard, expired_by_ms=None))

    return [(MemoryLedger, "expired_holds", every_open_one), (refusals, "_meets", meets)]


def some_answers_come_before_the_write() -> list[_Swap]:
    async def forgetful(self: MemoryLedger, transaction: Any) -> Any:
        if transaction.key.endswith("7"):
            other = MemoryLedger()
            vars(other).update({name: value.copy() for name, value in vars(self).items()})
            return await _POST(other, transaction)
        return await _POST(self, transaction)

    return [(MemoryLedger, "post", forgetful)]


def records_may_be_in_any_state() -> list[_Swap]:
    return [(refusals, "_require_record", lambda guard, record: None)]


def stale_reads_are_trusted() -> list[_Swap]:
    return [(refusals, "_require_guard", _all_but(BalanceIs))]


def the_frozen_may_hold() -> list[_Swap]:
    return [(refusals, "_require_guard", _all_but(UserActive))]


def debt_is_forgotten() -> list[_Swap]:
    def all_given(account: str, debt_account: str, debt_atoms: int, amount_atoms: int) -> list[Leg]:
        return [Leg(account, amount_atoms)]

    return [(purchases, "debt_first", all_given), (disputes, "debt_first", all_given)]


def _all_but(kind: type) -> Any:
    def require(guard: Any, view: Any) -> None:
        if not isinstance(guard, kind):
            _REQUIRE(guard, view)

    return require


# --- in the exchange ------------------------------------------------------------------------------------------------


def an_unknown_grant_is_retried_under_a_new_key() -> list[_Swap]:
    async def grant(self: Accounts, grant_id: str, account: str, atoms: int) -> bool:
        try:
            posted = await self._ledger.post(rules.grant(grant_id, account, atoms, self._clock.now_ms()))
        except OutcomeUnknown:
            posted = await self._ledger.post(rules.grant(f"{grant_id}-b", account, atoms, self._clock.now_ms()))
        return posted.applied

    return [(Accounts, "grant", grant)]


def room_is_released_before_the_settlement_commits() -> list[_Swap]:
    async def settle(self: Settlement, provider_id: str, order_id: str, *rest: Any) -> Any:
        self._floor.release(order_id)
        return await _SETTLE(self, provider_id, order_id, *rest)

    return [(Settlement, "settle", settle)]


def a_retry_claims_twice() -> list[_Swap]:
    def confirm(self: Floor, claim: Any) -> None:
        self._claims.pop(claim.order_id, None)
        _CONFIRM(self, claim)

    return [(Floor, "confirm", confirm)]


def a_claim_leaks_when_the_outcome_is_unknown() -> list[_Swap]:
    def undo(self: Floor, match: Any) -> None:
        if not isinstance(sys.exc_info()[1], OutcomeUnknown):
            _UNDO(self, match)

    return [*a_claim_is_dropped_when_the_outcome_is_unknown(), (Floor, "undo", undo)]


def a_claim_is_dropped_when_the_outcome_is_unknown() -> list[_Swap]:
    return [(orders, "OutcomeUnknown", type("Never", (Exception,), {}))]


def orders_that_ended_elsewhere_keep_their_room() -> list[_Swap]:
    async def nothing(self: Settlement, limit: int = 64) -> int:
        return 0

    return [(Settlement, "release_ended", nothing)]


def a_start_forgets_the_open_orders() -> list[_Swap]:
    async def nothing(ledger: Any, floor: Floor) -> int:
        return 0

    return [(node, "restore_claims", nothing)]


def a_held_order_is_called_unwritten() -> list[_Swap]:
    async def available(self: Orders, user: str) -> int:
        return (await self._ledger.balance(user)).available_atoms

    return [(Orders, "_available_atoms", available)]


def what_was_not_delivered_is_charged() -> list[_Swap]:
    def chargeable(usage: Usage, outcome: Any, terms: Any) -> Usage:
        return Usage(min(usage.prompt_tokens, terms.prompt_tokens), min(usage.completion_tokens, terms.max_tokens))

    return [(settlement, "_chargeable", chargeable)]


def the_fee_is_rounded_up() -> list[_Swap]:
    share = settlement.share

    def dear(charge_atoms: int, fee_bps: int) -> Any:
        shares = share(charge_atoms, fee_bps)
        return shares._replace(fee_atoms=min(charge_atoms, shares.fee_atoms + 1))

    return [(settlement, "share", dear)]


# --- in the shared book ---------------------------------------------------------------------------------------------


def one_slot_too_many_is_claimed() -> list[_Swap]:
    return _functions("free_slots < 1 then", "free_slots < 0 then")


def leases_never_run_out() -> list[_Swap]:
    return _functions("for _, order in ipairs(ended) do", "for _, order in ipairs({}) do")


def a_repeated_claim_is_a_new_one() -> list[_Swap]:
    return _functions("  if fence then\n    redis.call('ZADD'", "  if false then\n    redis.call('ZADD'")


def fences_begin_anew_after_a_flush() -> list[_Swap]:
    return _functions("math.max(tonumber(last or 0) + 1, us)", "tonumber(last or 0) + 1")


def a_repeated_batch_is_published_twice() -> list[_Swap]:
    return _functions("if tonumber(args[1]) <= tonumber(", "if tonumber(args[1]) < 0 * tonumber(")


def a_refused_claim_is_taken_for_granted() -> list[_Swap]:
    async def claim(self: Claims, request: Any) -> Any:
        answer = await _CLAIM(self, request)
        return Granted(7) if isinstance(answer, Refused) else answer

    return [(Claims, "claim", claim)]


def a_node_decides_alone_for_ever() -> list[_Swap]:
    return [(Outage, "is_too_long", lambda self, now_ms: False)]


def lost_leases_are_not_restored() -> list[_Swap]:
    async def nothing(self: Leases) -> None:
        pass

    return [(Leases, "restore_lost", nothing)]


def leases_are_not_renewed() -> list[_Swap]:
    return [(Leases, "keep", lambda self, lease, until_ms: None)]


def a_gap_in_the_stream_is_passed_over() -> list[_Swap]:
    async def start_over(self: Follower, old: Any) -> None:
        self._known = await self._head()

    return [(Follower, "_start_over", start_over)]


def ages_are_by_the_nodes_own_clock() -> list[_Swap]:
    return [(SharedTime, "_now_us", lambda self: self._clock.now_ms() * 1_000)]


def holds_of_dead_nodes_are_left_open() -> list[_Swap]:
    async def nothing(self: Settlement, limit: int = 256) -> int:
        return 0

    return [(Settlement, "expire_overdue", nothing)]


def _functions(right: str, wrong: str) -> list[_Swap]:
    """The functions of Redis, with a line that is wrong."""
    name, code = redis_client.library()
    assert code.count(right) == 1, right
    library = f"{name}wrong", code.replace(name, f"{name}wrong").replace(right, wrong)
    return [(redis_client, "library", lambda: library)]


# --- in the auditor itself ------------------------------------------------------------------------------------------


def the_auditor_has_a_sign_wrong() -> list[_Swap]:
    return [(books, "TAKEN", 1)]


PLANTS: Mapping[str, Callable[[], list[_Swap]]] = {
    plant.__name__: plant
    for plant in (
        fingerprints_are_not_compared,
        users_may_overdraw,
        a_hold_is_closed_whatever_its_state,
        the_sweeper_ignores_the_state,
        the_sweeper_ignores_the_deadline,
        some_answers_come_before_the_write,
        records_may_be_in_any_state,
        stale_reads_are_trusted,
        the_frozen_may_hold,
        debt_is_forgotten,
        an_unknown_grant_is_retried_under_a_new_key,
        room_is_released_before_the_settlement_commits,
        a_retry_claims_twice,
        a_claim_leaks_when_the_outcome_is_unknown,
        a_claim_is_dropped_when_the_outcome_is_unknown,
        orders_that_ended_elsewhere_keep_their_room,
        a_start_forgets_the_open_orders,
        a_held_order_is_called_unwritten,
        what_was_not_delivered_is_charged,
        the_fee_is_rounded_up,
        one_slot_too_many_is_claimed,
        leases_never_run_out,
        a_repeated_claim_is_a_new_one,
        fences_begin_anew_after_a_flush,
        a_repeated_batch_is_published_twice,
        a_refused_claim_is_taken_for_granted,
        a_node_decides_alone_for_ever,
        lost_leases_are_not_restored,
        leases_are_not_renewed,
        a_gap_in_the_stream_is_passed_over,
        ages_are_by_the_nodes_own_clock,
        holds_of_dead_nodes_are_left_open,
        the_auditor_has_a_sign_wrong,
    )
}
