"""What a ledger on DynamoDB does when conflicts, throttling, lost messages and twins come: the money moves once."""

import asyncio
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ConnectTimeoutError, NoCredentialsError, ReadTimeoutError
from msgspec.structs import replace

from gollem.errors import (
    AccountFrozen,
    HoldClosed,
    InsufficientCredits,
    InvariantBroken,
    KeyReused,
    LedgerUnavailable,
    OutcomeUnknown,
)
from gollem.ledger import Balance, rules
from gollem.ledger.dynamodb.client import Retries
from gollem.ledger.dynamodb.ledger import DynamoDBLedger, open_dynamodb
from gollem.ledger.dynamodb.writer import MAX_GROUP
from gollem.ledger.types import Kind, SetUserActive, Transaction
from tests.contracts.samples import NOW_MS, granting, hold_of, opening, outcomes
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb_faults import Faults, cancelled, error
from tests.fakes.tcp_proxy import Loss, TcpProxy

QUICK = Retries(attempts=5, first_wait_ms=1, longest_wait_ms=4, budget_ms=10_000)
LOST = ReadTimeoutError(endpoint_url="injected")
REFUSED = "ConditionalCheckFailed"
CONFLICT = "TransactionConflict"


@pytest.fixture
async def ledger(dynamodb_table: str) -> AsyncIterator[DynamoDBLedger]:
    opened = await open_dynamodb(dynamodb_table, retries=QUICK)
    await opened.post(granting(1_000))
    yield opened
    assert (await opened.audit()).findings == []
    await opened.close()


@pytest.fixture
async def twin(dynamodb_table: str) -> AsyncIterator[DynamoDBLedger]:
    """Another machine on the same table."""
    opened = await open_dynamodb(dynamodb_table, retries=QUICK)
    yield opened
    await opened.close()


@pytest.fixture
def faults(ledger: DynamoDBLedger) -> Faults:
    return Faults(ledger.client)


# --- fault 19: conflicts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("reason", [CONFLICT, "ThrottlingError", "ProvisionedThroughputExceeded"])
async def test_passing_reason_at_any_item_is_tried_again(
    ledger: DynamoDBLedger, faults: Faults, place: int, reason: str
) -> None:
    reasons = [reason if at == place else "" for at in range(4)]
    faults.answer(cancelled(*reasons), times=QUICK.attempts - 1)

    assert (await ledger.post(opening(hold_of()))).applied
    assert faults.writes == QUICK.attempts
    assert len(set(faults.tokens)) == 1
    assert await ledger.balance("alice") == Balance(900, 100, True)


async def test_conflict_that_stays_is_unavailable_and_never_insufficient(
    ledger: DynamoDBLedger, faults: Faults
) -> None:
    faults.answer(cancelled("", "", CONFLICT, ""), times=QUICK.attempts)
    with pytest.raises(LedgerUnavailable):
        await ledger.post(opening(hold_of()))

    assert faults.writes == QUICK.attempts
    assert (await ledger.post(opening(hold_of()))).applied


async def test_guard_refused_beside_a_conflict_is_not_believed(ledger: DynamoDBLedger, faults: Faults) -> None:
    faults.answer(cancelled("", "", REFUSED, CONFLICT))

    assert (await ledger.post(opening(hold_of()))).applied
    assert faults.calls == ["TransactWriteItems"] * 2
    assert len(set(faults.tokens)) == 1


# --- faults 20, 21: the key decides first -----------------------------------------------------------------------------


async def test_known_key_decides_over_conflict_and_guard(ledger: DynamoDBLedger, faults: Faults) -> None:
    first = await ledger.post(opening(hold_of(amount_atoms=1_000)))
    faults.answer(cancelled(REFUSED, CONFLICT, REFUSED, CONFLICT))
    again = await ledger.post(opening(hold_of(amount_atoms=1_000)))

    assert (again.applied, again.entry) == (False, first.entry)
    assert faults.writes == 2
    with pytest.raises(KeyReused):
        await ledger.post(opening(hold_of(amount_atoms=1_000), "another bid"))


async def test_twin_that_committed_in_between_is_the_answer_and_not_its_effect(
    ledger: DynamoDBLedger, twin: DynamoDBLedger, faults: Faults
) -> None:
    """The twin takes all there is after our request was refused: told "insufficient", ours would be tried elsewhere."""
    transaction = opening(hold_of(amount_atoms=1_000))
    faults.answer(cancelled("", "", REFUSED, ""))
    posted = []

    async def commit() -> None:
        posted.append(await twin.post(transaction))

    faults.answer(commit, operation="TransactGetItems")
    again = await ledger.post(transaction)

    assert (posted[0].applied, again.applied, again.entry) == (True, False, posted[0].entry)
    assert await ledger.balance("alice") == Balance(0, 1_000, True)


async def test_refusal_whose_reason_has_gone_is_tried_again(ledger: DynamoDBLedger, faults: Faults) -> None:
    faults.answer(cancelled("", "", REFUSED, ""), times=3)

    assert (await ledger.post(opening(hold_of()))).applied
    assert len(set(faults.tokens)) == 4  # each was a request of its own


async def test_refusal_without_end_is_unavailable(ledger: DynamoDBLedger, faults: Faults) -> None:
    faults.answer(cancelled("", "", REFUSED, ""), times=100)
    with pytest.raises(LedgerUnavailable):
        await ledger.post(opening(hold_of()))
    assert faults.writes < 10


async def test_two_machines_race_for_one_order(ledger: DynamoDBLedger, twin: DynamoDBLedger) -> None:
    """64 posts of one key over two clients."""
    posts = [(ledger, twin)[number % 2].post(opening(hold_of())) for number in range(64)]

    assert sorted(await outcomes(posts)) == [False] * 63 + [True]
    assert await ledger.balance("alice") == Balance(900, 100, True)


async def test_two_machines_share_out_what_there_is(ledger: DynamoDBLedger, twin: DynamoDBLedger) -> None:
    posts = [(ledger, twin)[number % 2].post(opening(hold_of(f"order-{number}", 150))) for number in range(40)]
    results = await outcomes(posts)

    assert (results.count(True), results.count(InsufficientCredits)) == (6, 34)
    assert await ledger.balance("alice") == Balance(100, 900, True)


# --- faults 17, 18, 22: what gets lost --------------------------------------------------------------------------------


async def test_lost_reply_is_answered_by_the_repeat(ledger: DynamoDBLedger, faults: Faults) -> None:
    faults.lose_reply(LOST, times=2)
    posted = await ledger.post(opening(hold_of()))

    assert posted.applied  # the token tells DynamoDB that it was this very call
    assert len(set(faults.tokens)) == 1
    assert await ledger.balance("alice") == Balance(900, 100, True)


async def test_replies_lost_for_good_are_unknown_and_the_next_call_learns(
    ledger: DynamoDBLedger, faults: Faults
) -> None:
    faults.lose_reply(LOST, times=QUICK.attempts)
    with pytest.raises(OutcomeUnknown):
        await ledger.post(opening(hold_of()))

    again = await ledger.post(opening(hold_of()))
    assert not again.applied
    assert await ledger.balance("alice") == Balance(900, 100, True)


async def test_unknown_stays_unknown_when_throttling_follows(ledger: DynamoDBLedger, faults: Faults) -> None:
    faults.lose_reply(LOST)
    faults.answer(_nothing)
    faults.answer(error("ThrottlingException"), times=QUICK.attempts)
    with pytest.raises(OutcomeUnknown):
        await ledger.post(opening(hold_of()))
    assert not (await ledger.post(opening(hold_of()))).applied


async def test_request_never_sent_is_unavailable_and_nothing_happened(ledger: DynamoDBLedger, faults: Faults) -> None:
    faults.answer(ConnectTimeoutError(endpoint_url="injected"), times=QUICK.attempts)
    with pytest.raises(LedgerUnavailable):
        await ledger.post(opening(hold_of()))

    assert await ledger.find_hold("order-1") is None
    assert (await ledger.post(opening(hold_of()))).applied


@pytest.mark.parametrize(
    ("reply", "raised"),
    [
        (error("ThrottlingException"), LedgerUnavailable),
        (error("ProvisionedThroughputExceededException"), LedgerUnavailable),
        (error("InternalServerError", 500), OutcomeUnknown),
        (error("ServiceUnavailable", 503), OutcomeUnknown),
        (error("TransactionInProgressException"), OutcomeUnknown),
        (LOST, OutcomeUnknown),
    ],
    ids=str,
)
async def test_storm_is_ridden_out_within_the_budget(
    ledger: DynamoDBLedger, faults: Faults, reply: dict[str, object] | Exception, raised: type[Exception]
) -> None:
    faults.answer(reply, times=QUICK.attempts - 1)
    assert (await ledger.post(opening(hold_of("order-1")))).applied

    faults.answer(reply, times=QUICK.attempts)
    with pytest.raises(raised):
        await ledger.post(opening(hold_of("order-2")))
    assert faults.writes == 2 * QUICK.attempts
    assert (await ledger.balance("alice")).held_atoms == 100


async def test_mismatched_token_is_replaced(ledger: DynamoDBLedger, faults: Faults) -> None:
    faults.answer(error("IdempotentParameterMismatchException"))

    assert (await ledger.post(opening(hold_of()))).applied
    assert len(set(faults.tokens)) == 2


@pytest.mark.parametrize("reply", [error("ValidationException"), cancelled("ValidationError", "", "")], ids=str)
async def test_request_that_is_wrong_is_our_bug_at_once(
    ledger: DynamoDBLedger, faults: Faults, reply: dict[str, object]
) -> None:
    faults.answer(reply)
    with pytest.raises(InvariantBroken):
        await ledger.post(opening(hold_of()))
    assert faults.writes == 1


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException", "ResourceNotFoundException"])
async def test_what_no_retry_mends_is_told_at_once(ledger: DynamoDBLedger, faults: Faults, code: str) -> None:
    faults.answer(error(code))
    with pytest.raises(LedgerUnavailable):
        await ledger.post(opening(hold_of()))
    assert faults.writes == 1


@pytest.mark.parametrize(
    "then", [NoCredentialsError(), error("ResourceNotFoundException"), error("AccessDeniedException")]
)
async def test_what_follows_a_lost_reply_never_says_that_nothing_was_written(
    ledger: DynamoDBLedger, faults: Faults, then: dict[str, object] | Exception
) -> None:
    faults.lose_reply(LOST)
    faults.answer(_nothing)
    faults.answer(then)
    with pytest.raises(OutcomeUnknown):
        await ledger.post(opening(hold_of()))

    assert not (await ledger.post(opening(hold_of()))).applied


async def test_look_that_fails_after_a_lost_reply_leaves_it_unknown(ledger: DynamoDBLedger, faults: Faults) -> None:
    """The first request was written; the token was forgotten, so that the second is refused by its own key."""
    faults.lose_reply(LOST)
    faults.answer(_nothing)
    faults.answer(error("IdempotentParameterMismatchException"))
    faults.answer(error("AccessDeniedException"), operation="TransactGetItems")
    with pytest.raises(OutcomeUnknown):
        await ledger.post(opening(hold_of()))

    assert not (await ledger.post(opening(hold_of()))).applied


async def test_posts_that_wait_behind_a_silent_server_end_within_the_budget(dynamodb_table: str) -> None:
    """Groups of one user: each would take the budget anew."""
    clock = FakeClock(NOW_MS)
    ledger = await open_dynamodb(dynamodb_table, clock=clock, retries=QUICK)
    await ledger.post(granting(1_000))
    faults = Faults(ledger.client)

    async def silence() -> None:
        clock.advance_ms(QUICK.budget_ms + 1)
        raise LOST

    faults.answer(silence, times=10)
    results = await outcomes([ledger.post(opening(hold_of(f"order-{number}", 1))) for number in range(320)])

    assert results == [OutcomeUnknown] * MAX_GROUP + [LedgerUnavailable] * (320 - MAX_GROUP)
    assert faults.writes == 1
    await ledger.close()


async def test_reads_are_tried_again_too(ledger: DynamoDBLedger, faults: Faults) -> None:
    faults.answer(error("ThrottlingException"), times=2, operation="GetItem")
    faults.answer(LOST, operation="GetItem")
    assert await ledger.balance("alice") == Balance(1_000, 0, True)

    faults.answer(LOST, times=QUICK.attempts, operation="GetItem")
    with pytest.raises(LedgerUnavailable):
        await ledger.balance("alice")


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.REPLY, Loss.SILENCE, Loss.LATE_REPLY])
async def test_messages_lost_on_the_wire_move_money_once(
    dynamodb_table: str, ledger: DynamoDBLedger, loss: Loss
) -> None:
    endpoint = dynamodb_table.split("endpoint=")[1].split("&")[0]
    port = urlsplit(endpoint).port or 0
    async with TcpProxy("127.0.0.1", port) as proxy:
        url = dynamodb_table.replace(endpoint, f"http://127.0.0.1:{proxy.port}")
        through = await open_dynamodb(url, retries=QUICK, read_timeout_s=0.2)
        assert not (await through.post(granting(1_000))).applied
        proxy.lose(loss, times=2)
        before = proxy.requests
        posted = await through.post(opening(hold_of()))

        assert posted.applied
        assert proxy.is_done
        assert proxy.requests - before == 3
        proxy.lose(loss, times=QUICK.attempts)
        with pytest.raises(OutcomeUnknown):
            await through.post(rules.settle(hold_of(), 60, 3, NOW_MS))
        again = await through.post(rules.settle(hold_of(), 60, 3, NOW_MS))
        await through.close()

    assert again.applied is (loss in (Loss.REQUEST, Loss.SILENCE))
    assert await ledger.balance("alice") == Balance(940, 0, True)


async def test_server_that_is_gone_costs_no_more_than_the_budget(dynamodb_table: str) -> None:
    endpoint = dynamodb_table.split("endpoint=")[1].split("&")[0]
    port = urlsplit(endpoint).port or 0
    async with TcpProxy("127.0.0.1", port) as proxy:
        url = dynamodb_table.replace(endpoint, f"http://127.0.0.1:{proxy.port}")
        through = await open_dynamodb(url, retries=QUICK, read_timeout_s=0.2)
    started = time.monotonic()
    results = await outcomes([through.post(granting(1, grant_id=f"late-{number}")) for number in range(100)])
    await through.close()

    assert set(results) <= {LedgerUnavailable, OutcomeUnknown}
    assert time.monotonic() - started < 10


async def test_waiting_posts_are_bounded(ledger: DynamoDBLedger) -> None:
    ledger._writer._max_waiting = 8
    posts = [ledger.post(granting(1, grant_id=f"many-{number}")) for number in range(12)]
    results = await outcomes(posts)

    assert (results.count(True), results.count(LedgerUnavailable)) == (8, 4)


# --- fault 23: the token is forgotten, the key is not -----------------------------------------------------------------


async def test_retry_with_another_token_is_stopped_by_the_key(
    ledger: DynamoDBLedger, faults: Faults, twin: DynamoDBLedger
) -> None:
    """As after ten minutes, and as from another machine: no token in common."""
    first = await ledger.post(opening(hold_of()))
    again = await twin.post(replace(opening(hold_of()), at_ms=NOW_MS + 660_000))
    third = await ledger.post(opening(hold_of()))

    assert (again.applied, third.applied) == (False, False)
    assert again.entry == third.entry == first.entry
    assert len(set(faults.tokens)) == 2


# --- fault 24: indexes lag --------------------------------------------------------------------------------------------


async def test_hold_that_the_index_still_lists_is_not_shown_nor_voided(
    ledger: DynamoDBLedger, twin: DynamoDBLedger, faults: Faults
) -> None:
    """The hold is closed between the query and the look."""
    hold = hold_of()
    await ledger.post(opening(hold))

    async def settle() -> None:
        await twin.post(rules.settle(hold, 60, 3, NOW_MS))

    faults.answer(settle, operation="BatchGetItem")
    assert await ledger.expired_holds(hold.expires_at_ms) == []
    assert await ledger.open_holds() == []
    with pytest.raises(HoldClosed):
        await ledger.post(rules.expire(hold, hold.expires_at_ms))
    assert await ledger.balance("alice") == Balance(940, 0, True)


# --- faults 29, 32: groups --------------------------------------------------------------------------------------------


async def test_many_holds_of_one_user_share_requests(ledger: DynamoDBLedger, faults: Faults) -> None:
    results = await outcomes([ledger.post(opening(hold_of(f"order-{number}", 10))) for number in range(64)])

    assert results == [True] * 64
    assert faults.items == [100, 32]  # an account and a statement each
    assert await ledger.balance("alice") == Balance(360, 640, True)
    lines = await ledger.user_statement("alice", limit=100)
    assert [line.order_id for line in lines[:64]] == [f"order-{number}" for number in range(63, -1, -1)]


async def test_50_holds_are_split_before_they_are_sent(ledger: DynamoDBLedger, faults: Faults) -> None:
    await outcomes([ledger.post(opening(hold_of(f"order-{number}", 10))) for number in range(50)])
    assert faults.items == [100, 4]


async def test_group_too_large_in_bytes_is_split(ledger: DynamoDBLedger, faults: Faults) -> None:
    terms = "\u4e2d" * 60_000  # 180 kB each
    holds = [hold_of(f"order-{number}", 1, terms=terms) for number in range(32)]
    results = await outcomes([ledger.post(opening(hold)) for hold in holds])

    assert results == [True] * 32
    assert len(faults.items) == 2
    assert await ledger.find_hold("order-31") == holds[31]


async def test_only_the_guilty_of_a_group_are_refused(ledger: DynamoDBLedger, faults: Faults) -> None:
    await ledger.post(opening(hold_of("order-7", 10)))
    await ledger.post(opening(hold_of("order-9", 10), "another bid"))
    amounts = dict.fromkeys(range(32), 10) | {20: 5_000, 3: 971}
    results = await outcomes([ledger.post(opening(hold_of(f"order-{n}", amounts[n]))) for n in range(32)])

    expected: dict[int, object] = {7: False, 9: KeyReused, 20: InsufficientCredits, 3: InsufficientCredits}
    assert results == [expected.get(number, True) for number in range(32)]
    assert await ledger.balance("alice") == Balance(700, 300, True)


async def test_group_with_a_lost_reply_is_applied_once(ledger: DynamoDBLedger, faults: Faults) -> None:
    faults.lose_reply(LOST)
    results = await outcomes([ledger.post(opening(hold_of(f"order-{number}", 10))) for number in range(20)])

    assert results == [True] * 20
    assert await ledger.balance("alice") == Balance(800, 200, True)


async def test_frozen_user_in_a_group(ledger: DynamoDBLedger) -> None:
    freeze = Transaction("freeze", Kind.USER_FROZEN, (), "f", NOW_MS, effects=(SetUserActive("alice", False),))
    await ledger.post(freeze)
    assert await outcomes([ledger.post(opening(hold_of(f"o{n}", 1))) for n in range(8)]) == [AccountFrozen] * 8


async def test_cancelled_caller_takes_nobody_with_it(ledger: DynamoDBLedger) -> None:
    posts = [asyncio.ensure_future(ledger.post(opening(hold_of(f"order-{number}", 10)))) for number in range(8)]
    await asyncio.sleep(0)
    posts[0].cancel()
    results = await asyncio.gather(*posts[1:])

    assert all(posted.applied for posted in results)


async def _nothing() -> None:
    """A call that goes through."""
