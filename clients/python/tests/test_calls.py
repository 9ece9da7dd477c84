"""The other calls, and the errors they end in."""

import asyncio
from decimal import Decimal

import pytest
from grpclib import GRPCError, Status

from gollem.rpc.pb import common_pb2, credit_pb2, market_pb2
from gollem_client import GollemClient, GollemError, Timeouts, errors
from tests.fakes.exchange import HANG, LOST, FakeExchange
from tests.fakes.faults import fault
from tests.fakes.provider import AddProvider
from tests.until import WITHIN_S

REASONS = [
    (Status.UNAUTHENTICATED, "UNAUTHENTICATED", errors.Unauthenticated),
    (Status.PERMISSION_DENIED, "FORBIDDEN", errors.Forbidden),
    (Status.NOT_FOUND, "UNKNOWN_MODEL", errors.UnknownModel),
    (Status.NOT_FOUND, "UNKNOWN_ORDER", errors.UnknownOrder),
    (Status.FAILED_PRECONDITION, "ACCOUNT_FROZEN", errors.AccountFrozen),
    (Status.ALREADY_EXISTS, "DUPLICATE_ORDER_MISMATCH", errors.OrderMismatch),
    (Status.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS", errors.TooManyStreams),
    (Status.UNIMPLEMENTED, "NOT_IMPLEMENTED", errors.NotImplementedByExchange),
    (Status.FAILED_PRECONDITION, "HOLD_CLOSED", errors.HoldClosed),
]


@pytest.mark.parametrize(("status", "reason", "kind"), REASONS, ids=[reason for _, reason, _ in REASONS])
async def test_each_reason_has_its_own_error(
    exchange: FakeExchange, client: GollemClient, status: Status, reason: str, kind: type[GollemError]
) -> None:
    exchange.next["Match"].append(fault(status, reason))
    with pytest.raises(kind) as caught:
        await client.match("m", 10)
    assert type(caught.value) is kind
    assert caught.value.reason == reason


async def test_figures_are_typed(exchange: FakeExchange, client: GollemClient) -> None:
    exchange.next["Match"].extend(
        [
            fault(Status.FAILED_PRECONDITION, "INSUFFICIENT_CREDITS", needed="2.50000000", available="1.25000000"),
            fault(Status.FAILED_PRECONDITION, "NO_FEASIBLE_ASK", **{"excluded_by.price": "3", "retryable": "true"}),
            fault(Status.RESOURCE_EXHAUSTED, "CAPACITY_EXHAUSTED", retry_after_ms="250"),
            fault(Status.RESOURCE_EXHAUSTED, "RATE_LIMITED", retry_after_ms="40"),
            fault(Status.INVALID_ARGUMENT, "INVALID_FIELD", field="bid.max_price", rule="must be a decimal"),
        ]
    )
    with pytest.raises(errors.InsufficientCredits) as poor:
        await client.match("m", 10)
    assert (poor.value.needed, poor.value.available) == (Decimal("2.5"), Decimal("1.25"))
    with pytest.raises(errors.NoFeasibleAsk) as none:
        await client.match("m", 10)
    assert (none.value.excluded_by, none.value.may_change) == ({"price": 3}, True)
    with pytest.raises(errors.CapacityExhausted) as full:
        await client.match("m", 10)
    assert full.value.retry_after_ms == 250
    with pytest.raises(errors.RateLimited) as limited:
        await client.match("m", 10)
    assert limited.value.retry_after_ms == 40
    with pytest.raises(errors.InvalidField) as bad:
        await client.match("m", 10)
    assert (bad.value.field, bad.value.rule) == ("bid.max_price", "must be a decimal")


async def test_a_reason_of_a_later_release_is_kept(exchange: FakeExchange, client: GollemClient) -> None:
    exchange.next["Balance"].append(fault(Status.INTERNAL, "SOMETHING_NEW", figure="7"))
    with pytest.raises(GollemError) as caught:
        await client.balance()
    assert (caught.value.reason, caught.value.figures) == ("SOMETHING_NEW", {"figure": "7"})


async def test_a_status_without_a_reason_is_typed_too(exchange: FakeExchange, client: GollemClient) -> None:
    exchange.next["Balance"].append(GRPCError(Status.UNAUTHENTICATED))
    with pytest.raises(errors.Unauthenticated):
        await client.balance()


async def test_unavailable_is_repeated(exchange: FakeExchange, client: GollemClient) -> None:
    exchange.next["Balance"].extend([fault(Status.UNAVAILABLE, "LEDGER_UNAVAILABLE")] * 2)
    assert (await client.balance()).available == "9.00000000"


@pytest.mark.parametrize(
    ("address", "why"), [("127.0.0.1:1", "Connect call failed"), ("exchange.invalid:50051", "cannot be resolved")]
)
async def test_a_wrong_address_is_told_as_such(address: str, why: str) -> None:
    async with GollemClient(address, api_key="k") as client:
        with pytest.raises(errors.ExchangeUnreachable, match=f"no connection to the exchange at {address}.*{why}"):
            await client.balance()


async def test_an_answer_that_never_comes_is_unknown_after_bounded_tries(exchange: FakeExchange) -> None:
    exchange.next["Match"].extend([HANG] * 9)
    timeouts = Timeouts(call_ms=100)
    async with asyncio.timeout(WITHIN_S), GollemClient(exchange.address, api_key="k", timeouts=timeouts) as client:
        with pytest.raises(errors.OutcomeUnknown):
            await client.match("m", 10)
    assert exchange.calls["Match"] == 3


async def test_a_lost_answer_followed_by_an_outage_is_unknown_not_undone(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient
) -> None:
    """The first attempt may have been carried out: "nothing has happened" would be a lie."""
    await add_provider("p1")
    exchange.next["Match"].extend([LOST, *[fault(Status.UNAVAILABLE, "SHUTTING_DOWN")] * 2])
    with pytest.raises(errors.OutcomeUnknown):
        await client.match("m", 10)


async def test_match_quote_cancel_report(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient
) -> None:
    await add_provider("p1")
    match = await client.match("m", 10, order_id="o1", max_cost=3, policy="price", gpu_types=["h100"])
    assert (match.offer.provider_id, match.held) == ("p1", "1.00000000")
    bid = exchange.orders["o1"].bid
    assert (bid.max_cost, bid.policy, list(bid.gpu_types)) == ("3.00000000", market_pb2.POLICY_PRICE, ["h100"])
    assert (await client.quote("m", 10)).feasible == 1
    assert (await client.cancel("o1")).state == 1
    assert await client.report("o1", "failed_midstream") is None
    with pytest.raises(errors.InvalidField):
        await client.report("o1", "perhaps")


async def test_transactions_are_read_page_by_page(exchange: FakeExchange, client: GollemClient) -> None:
    exchange.transactions = [credit_pb2.StatementLine(key=str(number)) for number in range(7)]
    assert [line.key async for line in client.transactions(page_size=3)] == list("0123456")
    assert exchange.calls["ListTransactions"] == 3


async def test_order_book_now_and_as_it_changes(exchange: FakeExchange, client: GollemClient) -> None:
    exchange.books = [market_pb2.OrderBook(at_ms=number) for number in (1, 2)]
    assert (await client.order_book()).at_ms == 1
    assert [book.at_ms async for book in client.watch_order_book("m", interval_ms=100)] == [1, 2]


async def test_generation_through_the_exchange(exchange: FakeExchange, client: GollemClient) -> None:
    exchange.relay = [
        market_pb2.MarketGenerateResponse(match=market_pb2.MatchResponse(order_id="o1")),
        _chunk(text="Hel"),
        _chunk(text="lo"),
        _chunk(finish_reason="stop", usage=common_pb2.Usage(prompt_tokens=4, completion_tokens=2)),
        market_pb2.MarketGenerateResponse(receipt=market_pb2.Receipt(order_id="o1", charged="0.5")),
    ]
    stream = client.generate_via_exchange("m", [{"role": "user", "content": "x"}], order_id="o1")
    assert await stream.complete() == "Hello"
    assert stream.match is not None
    assert stream.receipt is not None
    assert (stream.match.order_id, stream.receipt.charged) == ("o1", "0.5")
    assert stream.measured is not None
    assert stream.measured.completion_tokens == 2


@pytest.mark.parametrize("last", [[], [{"finish_reason": "error", "error_reason": "UPSTREAM_FAILED"}]])
async def test_a_relayed_answer_that_breaks_off_is_told(
    exchange: FakeExchange, client: GollemClient, last: list[dict[str, str]]
) -> None:
    exchange.relay = [_chunk(text="Hel"), *(_chunk(**chunk) for chunk in last)]
    with pytest.raises(errors.ProviderFailed) as caught:
        await client.generate_via_exchange("m", [{"role": "user", "content": "x"}]).complete()
    assert caught.value.text == "Hel"


def _chunk(**fields: object) -> market_pb2.MarketGenerateResponse:
    return market_pb2.MarketGenerateResponse(chunk=common_pb2.Chunk(**fields))  # type: ignore[arg-type]
