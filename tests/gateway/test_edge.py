"""What does not get through, and what gets through unharmed: limits, headers, operators' calls, gRPC and gRPC-Web."""

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import PingAckReceived
from h2.exceptions import H2Error

from gollem.identity import Role
from gollem.rpc.pb import admin_pb2, common_pb2, credit_pb2, market_pb2
from gollem.rpc.pb.admin_grpc import AdminServiceStub
from gollem.rpc.pb.credit_grpc import CreditServiceStub
from gollem.rpc.pb.market_grpc import MarketServiceBase, MarketServiceStub
from grpclib_guard import GuardedServer
from tests.gateway.conftest import Client, Market
from tests.servers.gateway import envoy
from tests.servers.redis_server import free_port
from tests.until import WITHIN_S, until

ORIGIN = "https://app.example"
SMALL = {
    "gateway.max_body_bytes": "1024",
    "gateway.requests_per_second": "1",
    "gateway.burst": "20",
    "gateway.calls_per_second": "1",
    "gateway.calls_burst": "10",
    "gateway.max_connections": "20",
    "gateway.timeout_ms": "1000",
    "gateway.stream_timeout_ms": "1000",
    "gateway.cors_origins": ORIGIN,
}


class Recorder(MarketServiceBase):
    """An exchange that keeps the metadata of each call, and never ends a Cancel or Generate."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.go_on = asyncio.Event()

    async def GetOrderBook(self, stream: Any) -> None:
        await stream.recv_message()
        self.seen.append(stream.metadata)
        await stream.send_message(market_pb2.OrderBook(at_ms=1))

    async def Cancel(self, stream: Any) -> None:
        await asyncio.Event().wait()

    async def Generate(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(market_pb2.MarketGenerateResponse(chunk=common_pb2.Chunk(text="Hel")))
        await self.go_on.wait()
        await stream.send_message(market_pb2.MarketGenerateResponse(chunk=common_pb2.Chunk(text="lo")))

    Match = Quote = MatchStream = Report = WatchOrderBook = ListTrades = GetRefusals = GetOrderBook


@asynccontextmanager
async def before(recorder: Recorder, settings: dict[str, str]) -> AsyncIterator[str]:
    """The address of an Envoy with these settings before it, and before a node that is not there."""
    server = GuardedServer([recorder])
    await server.start("127.0.0.1", 0)
    place = envoy([free_port(), server.port], free_port(), settings)
    port, _ = await asyncio.to_thread(place.__enter__)
    yield f"http://127.0.0.1:{port}"
    await asyncio.to_thread(place.__exit__, None, None, None)
    await server.drain(0)


@pytest.fixture
async def small() -> AsyncIterator[tuple[str, Recorder]]:
    """The address of an Envoy with small limits, and what is behind it."""
    recorder = Recorder()
    async with before(recorder, SMALL) as url:
        yield url, recorder


async def test_small_limits(small: tuple[str, Recorder]) -> None:
    url, recorder = small
    async with aiohttp.ClientSession(url) as session:
        await headers_are_cleaned(session, recorder)
        await large_bodies_are_refused(session)
        await time_is_bounded(session)
        await other_origins_are_not_allowed(session)
        await too_many_requests_are_refused(session)
        await too_many_calls_are_refused(session)
        await connections_are_counted(url)


async def headers_are_cleaned(session: aiohttp.ClientSession, recorder: Recorder) -> None:
    sent = {
        "x-foo-bin": "!!! no base64",
        "grpc-tags-bin": "AA",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-of-mine": "1",
        "x-foo": "kept",
        "x-forwarded-for": "203.0.113.9",
    }
    async with session.get("/api/orderbook/status", headers=sent) as answer:
        assert (answer.status, await answer.json()) == (200, {"models": [], "atMs": "1"})
        assert answer.headers["x-request-id"]
        assert not [name for name in answer.headers if name.lower().startswith(("grpc-", "x-envoy-"))]
    [seen] = recorder.seen
    assert seen["x-foo"] == "kept"
    assert seen["x-forwarded-for"] != "203.0.113.9"
    assert not seen.keys() & {"x-foo-bin", "grpc-tags-bin", "x-envoy-upstream-rq-timeout-ms", "x-envoy-of-mine"}


async def large_bodies_are_refused(session: aiohttp.ClientSession) -> None:
    async with session.post("/api/cancel", json={"orderId": "x" * 2_000}) as answer:
        assert (answer.status, await reason(answer)) == (413, "TOO_LARGE")
    async with session.get("/api/orderbook/status", headers={"x-long": "x" * 40_000}) as answer:
        assert (answer.status, await reason(answer)) == (431, "TOO_LARGE")


async def time_is_bounded(session: aiohttp.ClientSession) -> None:
    async with session.post("/api/cancel", json={"orderId": "x"}) as answer:
        assert (answer.status, await reason(answer)) == (504, "TIMED_OUT")
    async with session.post("/api/generate", json={}) as answer:
        assert b"Hel" in await answer.content.readline()
        with suppress(aiohttp.ClientPayloadError):  # or an end that looks like one
            assert await asyncio.wait_for(answer.content.read(), WITHIN_S) == b""


async def other_origins_are_not_allowed(session: aiohttp.ClientSession) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    async with session.options("/api/cancel", headers={"origin": ORIGIN} | asked) as answer:
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert "authorization" in answer.headers["access-control-allow-headers"]
    async with session.options("/api/cancel", headers={"origin": "https://evil.example"} | asked) as answer:
        assert "access-control-allow-origin" not in answer.headers


async def too_many_requests_are_refused(session: aiohttp.ClientSession) -> None:
    """Counted by the connection's own address: what a client says of itself is not believed."""
    for number in range(40):
        claimed = {"x-forwarded-for": f"203.0.113.{number}"}
        async with session.get("/api/orderbook/status", headers=claimed) as answer:
            if answer.status != 200:
                told = (answer.status, answer.headers["retry-after"], await reason(answer))
                break
    assert told == (429, "1", "RATE_LIMITED")


async def too_many_calls_are_refused(session: aiohttp.ClientSession) -> None:
    """All services and gRPC-Web from one bucket, apart from that of HTTP, with a status that clients of gRPC know."""
    assert session._base_url is not None
    channel = Channel("127.0.0.1", session._base_url.port)

    async def call_often() -> None:
        for _ in range(9):
            await MarketServiceStub(channel).GetOrderBook(market_pb2.GetOrderBookRequest())
        for _ in range(9):
            await HealthStub(channel).Check(HealthCheckRequest())

    with pytest.raises(GRPCError) as error:
        await call_often()
    channel.close()
    assert error.value.status is Status.RESOURCE_EXHAUSTED
    kind = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    path = "/gollem.v1.MarketService/GetOrderBook"
    async with session.post(path, data=b"\0" * 5, headers=kind) as answer:
        assert (answer.status, answer.headers["grpc-status"]) == (429, str(Status.RESOURCE_EXHAUSTED.value))


async def connections_are_counted(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(30)]
    closed = [asyncio.create_task(reader.read(1)) for reader, _ in opened]
    try:
        await until(lambda: sum(task.done() for task in closed) >= 10)
    finally:
        for task in closed:
            task.cancel()
        await asyncio.gather(*closed, return_exceptions=True)
        for _, writer in opened:
            writer.close()


async def reason(answer: aiohttp.ClientResponse) -> str:
    body = await answer.json()
    told: str = body["details"][0]["reason"]
    return told


async def test_whom_the_exchange_hangs_up_on_is_alone() -> None:
    """What one caller does, headers without measure and calls opened to be cancelled, ends nobody else's answer."""
    recorder = Recorder()
    async with (
        before(recorder, {"gateway.burst": "100000"}) as url,
        aiohttp.ClientSession(url) as session,
        session.post("/api/generate", json={}) as answer,
    ):
        assert b"Hel" in await asyncio.wait_for(answer.content.readline(), 20)
        await headers_of_every_size_are_answered(url)
        await asyncio.gather(*[calls_are_opened_and_cancelled(url) for _ in range(4)])
        recorder.go_on.set()
        assert b"lo" in await asyncio.wait_for(answer.content.readline(), 20)


async def headers_of_every_size_are_answered(url: str) -> None:
    """Whatever the gateway lets through, the exchange takes: many small ones count for more there."""
    for count, size in ((1, 11_000), (1, 14_000), (1, 20_000), (1, 31_000), (50, 200), (50, 260), (50, 600)):
        headers = {f"x-{number}": "x" * size for number in range(count)}
        async with aiohttp.ClientSession(url) as other, other.get("/api/orderbook/status", headers=headers) as answer:
            assert answer.status in (200, 431), (count, size)


async def calls_are_opened_and_cancelled(url: str) -> None:
    """More of them than the exchange takes from one connection in a second, 200. The gateway may hang up as well."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    peer = H2Connection(H2Configuration())
    peer.initiate_connection()
    path = "/gollem.v1.MarketService/Generate"
    call = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", path)]
    while not reader.at_eof() and peer.highest_outbound_stream_id < 800:
        first = peer.get_next_available_stream_id()
        opened = range(first, first + 40, 2)
        for stream in opened:
            peer.send_headers(stream, [*call, ("content-type", "application/grpc")])
        await has_read(peer, reader, writer)
        for stream in opened:
            with suppress(H2Error):  # it is over already
                peer.reset_stream(stream)
        await has_read(peer, reader, writer)
    writer.close()


async def has_read(peer: H2Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Whoever is there has read what is to be sent."""
    peer.ping(b"are here")
    writer.write(peer.data_to_send())
    answered = False
    while not answered:
        data = await asyncio.wait_for(reader.read(1 << 16), 20)
        answered = not data or any(isinstance(event, PingAckReceived) for event in peer.receive_data(data))


async def test_by_default_no_other_origin_may_call(client: Client) -> None:
    asked = {"origin": ORIGIN, "access-control-request-method": "POST"}
    answer = await client.send("OPTIONS", "/api/match", headers=asked)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/gollem.v1.AdminService/ListKeys",
        "//gollem.v1.AdminService/ListKeys",
        "/gollem.v1.MarketService/../gollem.v1.AdminService/ListKeys",
        "/gollem.v1.MarketService/%2e%2e/gollem.v1.AdminService/ListKeys",
        "/gollem.v1.MarketService/..%2fgollem.v1.AdminService/ListKeys",
        "/api/../gollem.v1.AdminService/ListKeys",
        "/api/gollem.v1.AdminService/ListKeys",
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/grpc-web+proto", "application/grpc"])
async def test_operators_have_no_way_through(client: Client, path: str, kind: str) -> None:
    ops = await client.person(Role.OPERATOR)
    sent = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: 5\r\nconnection: close\r\n"
    sent += f"authorization: {ops.authorization['authorization']}\r\nte: trailers\r\n\r\n" + "\0" * 5
    reader, writer = await asyncio.open_connection("127.0.0.1", client.place.port)
    writer.write(sent.encode())
    answer = (await asyncio.wait_for(whole_answer(reader), WITHIN_S)).lower()
    writer.close()
    assert answer.startswith((b"http/1.1 404", b"http/1.1 400")) or b"grpc-status: 1" in answer, answer
    assert b"key_id" not in answer
    assert ops.account.encode() not in answer


async def whole_answer(reader: asyncio.StreamReader) -> bytes:
    """Head and body. Not until the end of the connection, which Envoy leaves to its peer for a second."""
    head = await reader.readuntil(b"\r\n\r\n")
    if length := re.search(rb"content-length: (\d+)", head, re.I):
        return head + await reader.readexactly(int(length[1]))
    return head + await reader.readuntil(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("lines", "status", "reason", "word"),
    [
        ("GET /#x HTTP/1.1|host: x", 400, "INVALID_PATH", "#"),
        ("GET /a%00b HTTP/1.1|host: x", 400, "INVALID_PATH", "%00"),
        ("GET /healthz HTTP/1.1", 400, "INVALID_MESSAGE", "Host"),
        (
            "GET /api/generate HTTP/1.1|host: x|connection: upgrade|upgrade: websocket",
            403,
            "UPGRADE_REFUSED",
            "WebSocket",
        ),
        ("POST /api/quote HTTP/1.1|host: x|transfer-encoding: xchunked", 501, "UNSUPPORTED_ENCODING", "chunked"),
        (f"GET / HTTP/1.1|host: x|x-token: {'s3cret' * 1_500}", 431, "TOO_LARGE", "header"),
        (f"GET /{'s3cret' * 1_500} HTTP/1.1|host: x", 431, "TOO_LARGE", "address"),
        ("GET / HTTP/1.1|host: x|expect: s3cret", 417, "INVALID_MESSAGE", "100-continue"),
    ],
)
async def test_what_cannot_be_served_is_told_why(
    client: Client, lines: str, status: int, reason: str, word: str
) -> None:
    """Also by what lies behind the gateway; and none tells back what was sent."""
    closing = "" if "connection:" in lines else "connection: close\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", client.place.port)
    writer.write((lines.replace("|", "\r\n") + f"\r\n{closing}\r\n").encode())
    head, _, body = (await asyncio.wait_for(whole_answer(reader), WITHIN_S)).partition(b"\r\n\r\n")
    writer.close()
    told = json.loads(body)
    assert (int(head.split()[1]), told["details"][0]["reason"]) == (status, reason)
    assert word in told["message"]
    assert b"content-type: application/json" in head
    assert b"s3cret" not in body


async def test_operators_call_the_exchange_itself(client: Client) -> None:
    """The call that is refused above, by plain gRPC too, and is good where it is meant to be."""
    ops = await client.person(Role.OPERATOR)
    with pytest.raises(GRPCError) as error:
        await AdminServiceStub(client.channel).ListKeys(admin_pb2.ListKeysRequest(), metadata=ops.authorization)
    assert error.value.status is Status.UNIMPLEMENTED
    direct = Channel("127.0.0.1", client.place.exchange_port)
    told = await AdminServiceStub(direct).ListKeys(admin_pb2.ListKeysRequest(), metadata=ops.authorization)
    direct.close()
    assert ops.account in {key.account for key in told.keys}


async def test_plain_grpc_passes(market: Market) -> None:
    client, buyer = market.client, market.buyer.authorization
    balance = await CreditServiceStub(client.channel).Balance(credit_pb2.BalanceRequest(), metadata=buyer)
    assert balance.available == "1000.00000000"
    stub = MarketServiceStub(client.channel)
    async with stub.MatchStream.open(metadata=buyer) as stream:
        bid = market_pb2.Bid(
            model="gpt-4", prompt_tokens=10, max_tokens=10, only_providers=[market.seller.account], max_price="0.00001"
        )
        for number in range(2):
            await stream.send_message(market_pb2.MatchRequest(order_id=f"{buyer}-{number}"[-9:], bid=bid))
            answer = await stream.recv_message()
            assert answer is not None
            assert answer.refusal.reason
        await stream.end()


async def test_grpc_web(market: Market) -> None:
    request = credit_pb2.BalanceRequest().SerializeToString()
    frame = struct.pack(">BI", 0, len(request)) + request
    answer = await market.client.session.post(
        f"{market.client.place.url}/gollem.v1.CreditService/Balance",
        data=frame,
        headers=market.buyer.authorization | {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"},
    )
    body = await answer.read()
    assert (answer.status, answer.content_type) == (200, "application/grpc-web+proto")
    flag, size = struct.unpack(">BI", body[:5])
    assert flag == 0
    assert credit_pb2.BalanceResponse.FromString(body[5 : 5 + size]).available == "1000.00000000"
    trailers = body[5 + size :]
    assert trailers[0] == 0x80
    assert b"grpc-status:0" in trailers


async def test_limits_in_headers_reach_quote_match_and_generate(market: Market) -> None:
    client, buyer = market.client, market.buyer
    for path, body in (
        ("/api/match", market.order()),
        ("/api/generate", market.request()),
    ):
        for header in ({"x_max_price": "0.0001"}, {"x_max_latency": "50"}):
            assert (await client.post(path, buyer, body, **header)).error[:2] == (404, "NO_FEASIBLE_ASK"), path
        refused = await client.post(path, buyer, body, x_max_latency="soon")
        assert refused.error == (
            400,
            "INVALID_FIELD",
            {"field": "x-max-latency", "rule": "must be a whole number of milliseconds"},
        )
    quoted = await client.post("/api/quote", buyer, {"bid": market.bid()}, x_max_price="0.0001")
    assert quoted.body["excludedBy"]["price"] >= 1
    # The stricter of two counts, whichever it is.
    strict = market.order(bid=market.bid(maxPrice="0.0001"))
    assert (await client.post("/api/match", buyer, strict, x_max_price="0.01")).error[1] == "NO_FEASIBLE_ASK"
    named = {"bid": market.bid()}
    matched = await client.post("/api/match", buyer, named, idempotency_key=f"key-{buyer.account}")
    assert matched.body["orderId"] == f"key-{buyer.account}"
    again = await client.post("/api/match", buyer, named, idempotency_key=f"key-{buyer.account}")
    assert again.body["replayed"] is True


async def test_webhooks_and_pages_go_to_the_bridge(client: Client) -> None:
    unsigned = await client.send("POST", "/webhooks/stripe", data=b"{}")
    assert unsigned.status == 400
    assert (await client.get("/healthz")).body == "ok\n"
    assert (await client.get("/nothing")).error[:2] == (404, "NO_SUCH_ROUTE")


async def test_without_an_exchange_it_says_so() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        ready = envoy([nobody.getsockname()[1]], free_port(), {}, wait_for_exchange=False)
        port, _ = await asyncio.to_thread(ready.__enter__)
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                for path in ("/api/orderbook/status", "/healthz"):
                    async with session.get(path) as answer:
                        assert (answer.status, await reason(answer)) == (503, "UNAVAILABLE")
                async with session.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}) as page:
                    assert (page.status, page.content_type) == (503, "text/html")
                    assert "The exchange does not answer" in await page.text()
        finally:
            await asyncio.to_thread(ready.__exit__, None, None, None)
