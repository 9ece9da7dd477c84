"""Alerts about money fire and clear, in a real Prometheus, because of what really goes wrong between an exchange, its
ledger and its payment provider.

Days pass because a clock is put forward: thresholds are those of production, but for one (`alarms.THRESHOLDS`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gollem.clock import DAY_MS
from gollem.payments.inbox import LONGEST_PAUSE_MS, MAX_TRIES, Inbox
from gollem.payments.movements import PATIENCE_MS
from gollem.rpc.pb import admin_pb2
from tests.fakes.stripe.faults import Fault
from tests.until import until
from tests.watch import test_alerts
from tests.watch.alarms import Alarms, Troubles, wanted
from tests.watch.money_stage import NEVER, MoneyStage, money_stage, watched
from tests.watch.test_rules import NAMES

MINUTE_MS = 60_000


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[MoneyStage]:
    async with money_stage(tmp_path) as opened:
        yield opened


async def stripe_breaks_down(stage: MoneyStage, alarms: Alarms) -> None:
    """It tells of a payment, and breaks down whenever it is asked for it."""
    before = await stage.credits()
    await _told_of_what_cannot_be_fetched(stage)
    stage.clock.jump_ms(16 * MINUTE_MS)
    await alarms.fires("WebhookLag")
    _mend(stage)
    stage.clock.jump_ms(LONGEST_PAUSE_MS)
    await alarms.clears("WebhookLag")
    assert await stage.credits() > before


async def an_event_is_given_up(stage: MoneyStage, alarms: Alarms) -> None:
    """Nobody mends it for days; when somebody has, it is an operator who has it tried again."""
    before, inbox = await stage.credits(), stage.payments.inbox
    await _told_of_what_cannot_be_fetched(stage)
    for _ in range(MAX_TRIES):
        await _pass_a_try(stage, inbox)
    await alarms.fires("PaymentEventDead")
    assert await stage.credits() == before
    _mend(stage)
    (event_id,) = await stage.cases("event")
    revive = admin_pb2.ReviveEventRequest(event_id=event_id)
    await stage.site.admin.ReviveEvent(revive, metadata=stage.site.ops)
    await alarms.clears("PaymentEventDead")
    await stage.until_more_than(before)


async def _told_of_what_cannot_be_fetched(stage: MoneyStage) -> None:
    """Of a purchase that was paid. What was told of it before, that it was made, is handled."""
    inbox = stage.payments.inbox
    done = inbox.counts["done"]
    payment_id = await stage.order_credits("5.00")
    await stage.tell()
    await until(lambda: inbox.counts["done"] > done)
    stage.stripe.faults.dice = lambda route: Fault.ERROR_BEFORE
    stage.stripe.pay(payment_id)
    failed = inbox.counts["failed"]
    await stage.tell()
    await until(lambda: inbox.counts["failed"] > failed)


def _mend(stage: MoneyStage) -> None:
    stage.stripe.faults.dice = lambda route: None


async def _pass_a_try(stage: MoneyStage, inbox: Inbox) -> None:
    """Until the next one has failed as well, or there is no other."""
    failed, dead = inbox.counts["failed"], inbox.counts["dead"]
    stage.clock.jump_ms(LONGEST_PAUSE_MS)
    await until(lambda: inbox.counts["failed"] > failed or inbox.counts["dead"] > dead)


async def a_bank_does_not_pay(stage: MoneyStage, alarms: Alarms) -> None:
    await stage.buy("5.00")
    connected_id = await stage.earn("p1")
    await stage.ask_for_payout("p1")
    await until(lambda: stage.stripe.all("payout", connected_id))
    stage.clock.jump_ms(11 * DAY_MS)
    await alarms.fires("PayoutLate")
    (payout,) = stage.stripe.all("payout", connected_id)
    stage.stripe.bank_pays(payout["id"])
    await stage.tell()
    await alarms.clears("PayoutLate")


async def too_little_lies_at_stripe(stage: MoneyStage, alarms: Alarms) -> None:
    """The platform has paid itself what a provider earned. A top-up is enough for the alert to clear; whose it was an
    operator says later, when the books have come across it."""
    await stage.buy("5.00")
    stage.stripe.pay_out_by_hand(stage.stripe.available_cents())
    await stage.payments.books.match_movements()
    connected_id = await stage.earn("p2")
    await stage.ask_for_payout("p2")
    await alarms.fires("FloatLow")
    assert not stage.stripe.all("payout", connected_id)
    txn_id = stage.stripe.top_up(1_000)
    await alarms.clears("FloatLow")
    await until(lambda: stage.stripe.all("payout", connected_id))
    stage.clock.jump_ms(2 * PATIENCE_MS)
    await stage.payments.books.match_movements()
    assert await stage.cases("unmatched") == [txn_id]
    resolve = admin_pb2.ResolveMovementRequest(txn_id=txn_id, ledger_account="A:bank")
    await stage.site.admin.ResolveMovement(resolve, metadata=stage.site.ops)
    proof = await stage.payments.books.prove_balance()
    assert proof is not None
    assert proof.ok, proof.findings


async def nobody_proves_the_books(stage: MoneyStage, alarms: Alarms) -> None:
    """An operator has put the checks off, and puts them on again."""
    await stage.restart({"reconcile.quick_interval_ms": NEVER, "reconcile.deep_interval_ms": NEVER})
    stage.clock.jump_ms(31 * MINUTE_MS)
    await alarms.fires("ReconciliationLate")
    await stage.restart()
    await alarms.clears("ReconciliationLate")


async def the_ledger_is_slow(stage: MoneyStage, alarms: Alarms) -> None:
    """So is each match, which waits for its hold. Orders do not stop: it clears because they are quick again."""
    await stage.site.fund(amount="1000000")
    await stage.onboard("p1")
    await stage.site.sell("p1", max_requests_per_minute=100_000)
    await _order_until(lambda: stage.serve_slowly("p1", tokens=10), alarms.fires("MatchLatencyHigh"))
    await _order_until(lambda: stage.serve("p1", tokens=10), alarms.clears("MatchLatencyHigh"))
    await stage.stop_selling("p1")


async def _order_until(order: Callable[[], Awaitable[None]], seen: Coroutine[Any, Any, None]) -> None:
    """One order after the other."""
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(seen)
        while not watching.done():
            await order()


async def the_ledger_does_not_answer(stage: MoneyStage, alarms: Alarms) -> None:
    """For so long that whoever reads its figures has given up, and has to come back by himself."""
    stage.server.freeze()
    await alarms.fires("LedgerUnread", "MatcherDown")
    stage.server.thaw()
    await alarms.clears("LedgerUnread", "MatcherDown")


# The last one may halt payouts: a check that could not be made twice is a break.
TROUBLES: Troubles[MoneyStage] = {
    stripe_breaks_down: ["WebhookLag"],
    an_event_is_given_up: ["PaymentEventDead"],
    a_bank_does_not_pay: ["PayoutLate"],
    too_little_lies_at_stripe: ["FloatLow"],
    nobody_proves_the_books: ["ReconciliationLate"],
    the_ledger_is_slow: ["MatchLatencyHigh"],
    the_ledger_does_not_answer: ["LedgerUnread", "MatcherDown"],
}
SHORT = (stripe_breaks_down,)


async def test_each_trouble_with_money_is_told_and_told_to_be_over(stage: MoneyStage) -> None:
    async with watched(stage) as alarms:
        for trouble, names in wanted(TROUBLES, SHORT).items():
            await alarms.clears(*names)
            await alarms.provoke(stage, trouble, names)


def test_each_alert_has_a_trouble() -> None:
    """One that nobody can provoke may never fire."""
    provoked = {name for troubles in (test_alerts.TROUBLES, TROUBLES) for names in troubles.values() for name in names}
    assert provoked == set(NAMES)
