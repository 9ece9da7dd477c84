"""What a handler and its caller see of each other, and what neither sees."""

import logging
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from grpclib_guard import link

from .raw import data, message
from .service import BROKEN, CHAT, ECHO, HELD, Probe


async def test_exception_in_a_handler_is_internal_without_detail(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    client = await connect(server.port)
    trailers = await client.call(BROKEN)
    assert trailers["grpc-status"] == str(Status.INTERNAL.value)
    assert trailers["grpc-message"] == "internal error"
    assert "secret" not in str(trailers)
    [record] = caplog.records
    assert record.name == "grpclib_guard"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert await client.status(ECHO) == 0


async def test_log_of_exceptions_is_bounded(serve: Any, connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = await serve()
    client = await connect(server.port)
    for _ in range(100):
        await client.status(BROKEN)
    assert 5 <= len(caplog.records) <= 30
    assert server.statistics().faults == 100


async def test_faults_of_the_peer_are_not_logged(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    caplog.set_level(logging.INFO)
    server = await serve()
    client = await connect(server.port)
    for payload in (
        message(b"x", flag=1),
        b"\0\0\0\0\2\x0a\x7f",
        message(b"x", size=9),
        message(b"", size=1 << 30),
        b"",
    ):
        stream_id = client.start(ECHO)
        client.send(*data(stream_id, payload, end=True))
        assert (await client.trailers(stream_id))["grpc-status"] != "0"
    client.start(CHAT)
    await client.close()
    await eventually(lambda: server.connections == 0)
    assert not caplog.records


async def test_handler_that_sends_nothing_is_internal(serve: Any, connect: Any, probe: Probe) -> None:
    async def silence(stream: Any) -> None:
        await stream.recv_message()

    async def silenced(event: Any) -> None:
        event.method_func = silence

    client = await connect((await serve(on_request=silenced)).port)
    assert await client.status(ECHO) == Status.INTERNAL.value


async def test_deadline_ends_the_handler(serve: Any, connect: Any, probe: Probe, eventually: Any) -> None:
    client = await connect((await serve()).port)
    assert await client.status(HELD, b"x", (b"grpc-timeout", b"30m")) == Status.DEADLINE_EXCEEDED.value
    await eventually(lambda: probe.ended == 1)


@pytest.mark.parametrize("timeout", [b"0n", b"1n"])
async def test_deadline_that_has_passed_already(timeout: bytes, serve: Any, connect: Any) -> None:
    client = await connect((await serve()).port)
    assert await client.status(HELD, b"x", (b"grpc-timeout", timeout)) == Status.DEADLINE_EXCEEDED.value


async def test_deadline_of_a_hundred_million_hours_is_served(serve: Any, connect: Any) -> None:
    client = await connect((await serve()).port)
    assert await client.status(ECHO, b"x", (b"grpc-timeout", b"99999999H")) == 0


async def test_time_out_of_a_handlers_own_is_its_fault_not_the_deadline(serve: Any, connect: Any) -> None:
    async def on_request(event: Any) -> None:
        raise TimeoutError("of the database")

    client = await connect((await serve(on_request=on_request)).port)
    assert await client.status(ECHO, b"x", (b"grpc-timeout", b"10S")) == Status.INTERNAL.value


async def test_cancelled_call_ends_its_handler(serve: Any, connect: Any, probe: Probe, eventually: Any) -> None:
    client = await connect((await serve()).port)
    client.start(HELD)
    await eventually(lambda: probe.started == 1)
    await client.close()
    await eventually(lambda: probe.ended == 1)


async def test_on_request_sees_metadata_and_may_refuse(serve: Any, connect: Any) -> None:
    seen: list[Any] = []

    async def on_request(event: Any) -> None:
        seen.append((event.method_name, dict(event.metadata)))
        if "authorization" not in event.metadata:
            raise GRPCError(Status.UNAUTHENTICATED, "no key")

    client = await connect((await serve(on_request=on_request)).port)
    assert await client.status(ECHO) == Status.UNAUTHENTICATED.value
    assert await client.status(ECHO, b"x", (b"authorization", b"Bearer k"), (b"x-id-bin", b"AAEC")) == 0
    assert seen[1] == (ECHO, {"authorization": "Bearer k", "x-id-bin": b"\0\1\2"})


async def test_health_and_reflection_need_no_leave(serve: Any, connect: Any) -> None:
    async def on_request(event: Any) -> None:
        raise GRPCError(Status.UNAUTHENTICATED, "no key")

    client = await connect((await serve(on_request=on_request)).port)
    assert await client.status("/grpc.health.v1.Health/Check", b"") == 0
    assert await client.status("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", b"") == 0


@pytest.mark.parametrize(
    ("path", "extra", "status"),
    [
        ("/guardtest.Probe/Nothing", (), Status.UNIMPLEMENTED),
        (ECHO, ((b"grpc-timeout", b"soon"),), Status.INVALID_ARGUMENT),
        (ECHO, ((b"x-id-bin", b"!!!!"),), Status.INVALID_ARGUMENT),
        (ECHO, ((b"x-id", b"\xff"),), Status.INVALID_ARGUMENT),
        (ECHO, ((b"x-id", b"a\x00b"),), Status.INVALID_ARGUMENT),
        (ECHO, ((b"grpc-encoding", b"gzip"),), Status.OK),
    ],
)
async def test_openings(
    path: str, extra: tuple[tuple[bytes, bytes], ...], status: Status, serve: Any, connect: Any
) -> None:
    client = await connect((await serve()).port)
    assert await client.status(path, b"x", *extra) == status.value


async def test_metadata_of_several_binary_values_in_one_header(serve: Any, connect: Any, probe: Probe) -> None:
    client = await connect((await serve()).port)
    assert await client.status(ECHO, b"x", (b"x-id-bin", b"AAEC, AwQ="), (b"x-id-bin", b"BQ")) == 0
    assert probe.metadata[0].getall("x-id-bin") == [b"\0\1\2", b"\3\4", b"\5"]


async def test_wrong_content_type_is_an_http_error(serve: Any, connect: Any) -> None:
    client = await connect((await serve()).port)
    frame = client.block([(b":method", b"POST"), (b":path", ECHO.encode()), (b"content-type", b"text/html")], end=True)
    client.send(frame)
    assert (await client.trailers(frame.stream_id))[":status"] == "415"


async def test_message_at_the_limit_is_taken_and_one_byte_more_is_not(serve: Any, connect: Any) -> None:
    client = await connect((await serve(max_message_bytes=20_000)).port, settings={4: 1 << 20})
    exact = 20_000 - 4  # BytesValue's tag and length
    assert await client.status(ECHO, b"x" * exact) == 0
    assert await client.status(ECHO, b"x" * (exact + 1)) == Status.RESOURCE_EXHAUSTED.value


async def test_call_that_its_peer_never_ends_is_reset_after_a_while(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is complete; the stream must not stay open because the client forgot its own end."""
    monkeypatch.setattr(link, "_LINGER_S", 0.05)
    client = await connect((await serve()).port)
    stream_id = client.start(ECHO)
    client.send(*data(stream_id, message(b"x")))
    assert (await client.trailers(stream_id))["grpc-status"] == "0"
    frame = await client.wait_for(lambda f: f.stream_id == stream_id and type(f).__name__ == "RstStreamFrame")
    assert frame.error_code == 0
