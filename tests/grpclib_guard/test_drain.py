"""A stop that loses nothing: calls under way end, new ones go elsewhere, and nobody is kept waiting for ever."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from hyperframe.frame import GoAwayFrame, RstStreamFrame

from grpclib_guard import server as server_module
from tests.until import WITHIN_S

from .raw import RawClient, data, message
from .service import ECHO, HELD, Probe

REFUSED_STREAM = 7


async def held_call(client: RawClient) -> int:
    stream_id = client.start(HELD)
    client.send(*data(stream_id, message(b"x"), end=True))
    return stream_id


async def test_call_under_way_ends_and_later_ones_are_refused(
    serve: Any, connect: Any, probe: Probe, eventually: Any
) -> None:
    server = await serve()
    client = await connect(server.port)
    stream_id = await held_call(client)
    await eventually(lambda: probe.started == 1)
    stopping = asyncio.ensure_future(server.drain(5_000))
    goaway = await client.wait_for(lambda frame: isinstance(frame, GoAwayFrame))
    assert (goaway.error_code, goaway.last_stream_id) == (0, stream_id)
    late = await held_call(client)
    refusal = await client.wait_for(lambda f: isinstance(f, RstStreamFrame) and f.stream_id == late)
    assert refusal.error_code == REFUSED_STREAM
    probe.release.set()
    assert (await client.trailers(stream_id))["grpc-status"] == "0"
    await client.closed()
    assert await stopping == 0
    assert probe.started == 1
    with pytest.raises(OSError):
        await RawClient.connect(server.port)


async def test_call_that_does_not_end_is_cut_off_with_unavailable(
    serve: Any, connect: Any, probe: Probe, eventually: Any
) -> None:
    server = await serve()
    client = await connect(server.port)
    stream_id = await held_call(client)
    await eventually(lambda: probe.started == 1)
    assert await server.drain(30) == 1
    assert (await client.trailers(stream_id))["grpc-status"] == str(Status.UNAVAILABLE.value)
    await client.closed()
    assert probe.ended == 1
    assert server.connections == 0


async def test_drain_without_calls_is_immediate(serve: Any, connect: Any) -> None:
    server = await serve()
    client = await connect(server.port)
    async with asyncio.timeout(WITHIN_S):
        assert await server.drain(60_000) == 0
    assert await client.closed() == 0


async def test_drain_is_not_held_up_by_a_peer_that_does_not_read(serve: Any, connect: Any) -> None:
    server = await serve()
    client = await connect(server.port)
    client.stop_reading()
    async with asyncio.timeout(WITHIN_S):
        await server.drain(60_000)
    assert server.connections == 0


async def test_peer_that_has_hung_up_is_not_waited_for(
    serve: Any, connect: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_SETTLE_MS", 3_600_000)
    server = await serve()
    client = await connect(server.port)
    stopping = asyncio.ensure_future(server.drain(60_000))
    await client.wait_for(lambda frame: isinstance(frame, GoAwayFrame))
    await client.close()
    assert await asyncio.wait_for(stopping, WITHIN_S) == 0


async def test_health_tells_of_the_drain_and_does_not_hold_it_up(serve: Any) -> None:
    server = await serve()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )(HealthCheckRequest(service="guardtest.Probe"))
        assert (await watch.read()).status == HealthCheckResponse.SERVING
        stopping = asyncio.ensure_future(server.drain(60_000))
        async with asyncio.timeout(WITHIN_S):
            assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
            assert await stopping == 0


async def test_handlers_can_watch_for_the_drain(serve: Any, connect: Any, eventually: Any) -> None:
    server = None

    async def endless(stream: Any) -> None:
        assert server is not None
        message = await stream.recv_message()
        await server.draining.wait()
        await stream.send_message(message)

    async def on_request(event: Any) -> None:
        event.method_func = endless

    server = await serve(on_request=on_request)
    client = await connect(server.port)
    stream_id = await held_call(client)
    await eventually(lambda: server.statistics().calls == 1)
    assert await server.drain(60_000) == 0
    assert (await client.trailers(stream_id))["grpc-status"] == "0"


async def test_grpclib_client_keeps_its_call(serve: Any, probe: Probe, eventually: Any) -> None:
    """h2 drops the calls under way when it is told GOAWAY, so clients built on it are told when they are done."""
    server = await serve()
    async with Channel("127.0.0.1", server.port) as channel:
        held = UnaryUnaryMethod(channel, HELD, BytesValue, BytesValue)
        echo = UnaryUnaryMethod(channel, ECHO, BytesValue, BytesValue)
        call = asyncio.ensure_future(held(BytesValue(value=b"kept")))
        await eventually(lambda: probe.started == 1)
        stopping = asyncio.ensure_future(server.drain(5_000))
        await asyncio.sleep(0)
        with pytest.raises(GRPCError) as refused:
            await echo(BytesValue(value=b"new"))
        assert refused.value.status is Status.UNAVAILABLE
        assert [detail.reason for detail in refused.value.details or ()] == ["SHUTTING_DOWN"]  # so: call again
        probe.release.set()
        assert (await call).value == b"kept"
        assert await stopping == 0


async def test_grpcio_clients_lose_no_call_while_servers_take_turns(probe: Probe, serve: Any) -> None:
    """A client that calls all the time, over a drain, with a second server at hand."""
    first, second = await serve(), await serve()
    target = f"ipv4:127.0.0.1:{first.port},127.0.0.1:{second.port}"
    async with grpc.aio.insecure_channel(target) as channel:
        echo = channel.unary_unary(
            ECHO, request_serializer=BytesValue.SerializeToString, response_deserializer=BytesValue.FromString
        )
        done = 0

        async def call_on() -> None:
            nonlocal done
            while not stopped.is_set():
                await echo(BytesValue(value=b"x"))
                done += 1

        stopped = asyncio.Event()
        callers = [asyncio.ensure_future(call_on()) for _ in range(8)]
        while done < 200:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert await first.drain(5_000) == 0
        after = done
        while done < after + 200:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        stopped.set()
        await asyncio.gather(*callers)
    assert first.statistics().calls_started > 0
    assert second.statistics().calls_started > 0
