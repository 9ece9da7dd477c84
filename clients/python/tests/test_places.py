"""Several exchanges over one book: the client turns to the next when one is gone, silent or cannot serve."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from grpclib import Status

from gollem.rpc.pb import common_pb2, market_pb2
from gollem_client import ChannelPool, Exchange, GollemClient, Timeouts, errors, stubs
from gollem_client.places import MAX_PLACES, Places
from tests.fakes.exchange import HANG, LOST, FakeExchange
from tests.fakes.faults import fault
from tests.fakes.provider import FakeProvider
from tests.until import WITHIN_S

NOWHERE = "127.0.0.1:1"
TIMEOUTS = Timeouts(connect_ms=5_000, call_ms=600_000, turn_ms=100)


@pytest.fixture
async def other() -> AsyncIterator[FakeExchange]:
    """It shares the orders of the first, as nodes do."""
    other = FakeExchange()
    await other.start()
    yield other
    await other.stop()


@pytest.fixture
async def both(exchange: FakeExchange, other: FakeExchange) -> AsyncIterator[GollemClient]:
    """A client of both, which begins at the first."""
    other.orders, other.matched, other.asks = exchange.orders, exchange.matched, exchange.asks
    address = _beginning_at(exchange.address, other.address)
    async with GollemClient(address, api_key="k", timeouts=TIMEOUTS) as client:
        client._exchange._places = Places(address, rng=_First())
        yield client


class _First(random.Random):
    """Draws no lots."""

    def randrange(self, *_: object) -> int:  # type: ignore[override]
        return 0


def _beginning_at(*addresses: str) -> str:
    return ", ".join(addresses)


@pytest.mark.parametrize(
    "trouble", [HANG, LOST, fault(Status.UNAVAILABLE, "BOOK_UNAVAILABLE"), fault(Status.UNAVAILABLE, "SHUTTING_DOWN")]
)
async def test_a_node_that_cannot_answer_is_left_for_good(
    exchange: FakeExchange, other: FakeExchange, both: GollemClient, trouble: object
) -> None:
    exchange.next["Balance"].append(trouble)
    async with asyncio.timeout(WITHIN_S):  # below call_ms: a silent one is waited for no longer than turn_ms
        assert (await both.balance()).available == "9.00000000"
        await both.balance()
    assert (exchange.calls["Balance"], other.calls["Balance"]) == (1, 2)


async def test_a_node_that_is_gone_is_left(exchange: FakeExchange, other: FakeExchange, both: GollemClient) -> None:
    await both.balance()
    await exchange.stop()
    await asyncio.gather(*(both.balance() for _ in range(5)))
    assert other.calls["Balance"] == 5


async def test_a_refusal_is_an_answer(exchange: FakeExchange, other: FakeExchange, both: GollemClient) -> None:
    exchange.next["Balance"].append(fault(Status.PERMISSION_DENIED, "FORBIDDEN"))
    with pytest.raises(errors.Forbidden):
        await both.balance()
    assert not other.calls["Balance"]


async def test_an_order_whose_answer_was_lost_is_the_same_order_at_the_next(
    exchange: FakeExchange, other: FakeExchange, both: GollemClient
) -> None:
    provider = FakeProvider("p1", exchange)
    await provider.start()
    exchange.add_ask("p1", provider.endpoint)
    exchange.next["Match"].append(LOST)
    match = await both.match("m", 10, order_id="o1")
    await provider.stop()
    assert (match.order_id, match.offer.provider_id) == ("o1", "p1")
    assert (exchange.calls["Match"], other.calls["Match"]) == (1, 1)
    assert set(exchange.orders) == {"o1"}


async def test_a_refusal_of_the_next_is_not_the_answer_of_the_first(
    exchange: FakeExchange, other: FakeExchange, both: GollemClient
) -> None:
    """Which may just be about to commit the order: the next finds it there a moment later."""
    exchange.add_ask("p1", NOWHERE)
    exchange.next["Match"].append(LOST)
    other.next["Match"].append(fault(Status.RESOURCE_EXHAUSTED, "CAPACITY_EXHAUSTED"))
    assert (await both.match("m", 10, order_id="o1")).replayed
    assert (exchange.calls["Match"], other.calls["Match"]) == (1, 2)


async def test_an_order_that_one_node_may_have_and_another_refuses_is_unknown(
    exchange: FakeExchange, other: FakeExchange, both: GollemClient
) -> None:
    exchange.next["Match"].append(fault(Status.UNAVAILABLE, "OUTCOME_UNKNOWN"))
    with pytest.raises(errors.OutcomeUnknown, match="another node"):
        await both.match("m", 10)
    assert other.calls["Match"] == 3
    with pytest.raises(errors.NoFeasibleAsk):  # without a doubt it is the answer
        await both.match("m", 10)
    assert other.calls["Match"] == 4


async def test_every_node_is_tried(exchange: FakeExchange) -> None:
    dead = [f"127.0.0.1:{port}" for port in range(1, MAX_PLACES)]
    async with GollemClient(",".join([*dead, exchange.address]), api_key="k", timeouts=TIMEOUTS) as client:
        client._exchange._places._at = 0
        assert (await client.balance()).available == "9.00000000"


async def test_tries_are_bounded() -> None:
    async with GollemClient(f"{NOWHERE},127.0.0.1:2", api_key="k", timeouts=TIMEOUTS) as client:
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(errors.ExchangeUnreachable):
                await client.balance()


async def test_a_stream_begins_at_the_next(exchange: FakeExchange, other: FakeExchange, both: GollemClient) -> None:
    other.books = [market_pb2.OrderBook(at_ms=1)]
    await exchange.stop()
    assert [book.at_ms async for book in both.watch_order_book("m")] == [1]


async def test_a_stream_that_breaks_off_is_not_begun_again(
    exchange: FakeExchange, other: FakeExchange, both: GollemClient
) -> None:
    exchange.relay = [market_pb2.MarketGenerateResponse(chunk=common_pb2.Chunk(text="Hel")), HANG]
    other.relay = [market_pb2.MarketGenerateResponse(chunk=common_pb2.Chunk(text="lo", finish_reason="stop"))]
    answer = both.generate_via_exchange("m", [{"role": "user", "content": "x"}])
    chunks = aiter(answer)
    assert (await anext(chunks)).text == "Hel"
    await exchange.stop()
    with pytest.raises(errors.ProviderFailed) as caught:
        await anext(chunks)
    assert caught.value.text == "Hel"


async def test_a_conversation_that_falls_silent_goes_on_at_the_next(
    exchange: FakeExchange, other: FakeExchange
) -> None:
    pool = ChannelPool()
    line = Exchange(f"{NOWHERE},{other.address}", "k", pool, TIMEOUTS)
    line._places._at = 0
    requests: asyncio.Queue[stubs.TelemetryRequest] = asyncio.Queue()
    for _ in range(2):
        requests.put_nowait(stubs.TelemetryRequest(provider_id="p1", sequence=1))
    with pytest.raises(errors.ExchangeUnreachable):
        await anext(line.converse("ProviderService/Telemetry", requests, stubs.TelemetryResponse, 100))
    answers = line.converse("ProviderService/Telemetry", requests, stubs.TelemetryResponse, 100)
    assert (await anext(answers)).sequence == 1
    with pytest.raises(errors.OutcomeUnknown, match="in time"):  # nothing more is sent, so nothing more is answered
        await anext(answers)
    assert line.place == NOWHERE
    pool.close()


@pytest.mark.parametrize("wrong", ["", "a:1,", "a:1,,b:2", "a:1,b", ",".join(f"a:{n}" for n in range(1, 18))])
def test_what_is_no_list_of_addresses_is_refused(wrong: str) -> None:
    with pytest.raises(errors.InvalidField, match=r"^address: must"):
        Places(wrong)


def test_clients_spread_over_the_nodes() -> None:
    begun = {Places("a:1, b:2,https://c", rng=random.Random(seed)).current.name for seed in range(50)}
    assert begun == {"a:1", "b:2", "https://c"}


def test_who_finds_out_late_that_a_node_is_gone_does_not_leave_the_next() -> None:
    places = Places("a:1,b:2,c:3", rng=_First())
    first = places.current
    places.leave(first)
    places.leave(first)
    assert places.current.name == "b:2"
