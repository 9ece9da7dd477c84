"""What the ledger did and could not say: no room is sold twice, none is lost, and nobody is told what is not so."""

from collections import deque
from typing import Any

import pytest

from gollem.errors import GollemError, LedgerUnavailable, OutcomeUnknown
from gollem.exchange import Outcome, Usage
from gollem.ledger import Ledger, Posted, Transaction
from tests.exchange.conftest import BID, HELD, Bench

USAGE = Usage(100, 100)


class Forgetful:
    """A ledger behind a wire: what stands in `lost` is raised after the next posts, whatever came of them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.lost: deque[GollemError] = deque()
        self.unreadable = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def post(self, transaction: Transaction) -> Posted:
        posted = await self._ledger.post(transaction)
        if self.lost:
            raise self.lost.popleft()
        return posted

    async def balance(self, user: str) -> Any:
        if self.unreadable:
            raise LedgerUnavailable("away")
        return await self._ledger.balance(user)


@pytest.fixture
async def ledger(bench: Bench) -> Forgetful:
    await bench.fund()
    bench.sell(capacity_slots=1)
    forgetful = Forgetful(bench.ledger)
    bench.orders._ledger = bench.settlement._ledger = forgetful  # type: ignore[assignment]
    bench.orders._spending._ledger = forgetful  # type: ignore[assignment]
    return forgetful


async def test_an_order_of_unknown_outcome_keeps_its_room_while_it_is_held(bench: Bench, ledger: Forgetful) -> None:
    ledger.lost.append(OutcomeUnknown("no answer"))
    with pytest.raises(OutcomeUnknown):
        await bench.orders.match("alice", "o1", BID)
    assert await bench.held() == HELD
    assert await bench.settlement.release_ended() == 0
    assert bench.floor.depth("gpt-4").free_slots == 0
    assert (await bench.orders.match("alice", "o1", BID)).replayed
    await bench.settlement.settle("p1", "o1", USAGE, Outcome.COMPLETED)
    assert bench.floor.depth("gpt-4").free_slots == 1


async def test_room_comes_back_when_it_is_certain_that_nothing_was_held(bench: Bench, ledger: Forgetful) -> None:
    async def nothing(transaction: Transaction) -> Posted:
        raise OutcomeUnknown("no answer")

    ledger.post = nothing  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown):
        await bench.orders.match("alice", "o1", BID)
    assert bench.floor.depth("gpt-4").free_slots == 0
    assert await bench.settlement.release_ended() == 1
    assert bench.floor.depth("gpt-4").free_slots == 1


async def test_a_settlement_sent_again_gives_the_room_back(bench: Bench, ledger: Forgetful) -> None:
    await bench.orders.match("alice", "o1", BID)
    ledger.lost.append(OutcomeUnknown("no answer"))
    with pytest.raises(OutcomeUnknown):
        await bench.settlement.settle("p1", "o1", USAGE, Outcome.COMPLETED)
    assert (await bench.settlement.settle("p1", "o1", USAGE, Outcome.COMPLETED)).replayed
    assert bench.floor.claims() == 0


async def test_an_order_that_is_held_is_never_called_unwritten(bench: Bench, ledger: Forgetful) -> None:
    ledger.unreadable = True
    with pytest.raises(OutcomeUnknown):
        await bench.orders.match("alice", "o1", BID)
    ledger.unreadable = False
    assert (await bench.orders.match("alice", "o1", BID)).replayed
