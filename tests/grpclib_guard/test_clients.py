"""Ordinary clients notice nothing of the guard: grpcio, grpclib and TLS, in every kind of call."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value
from google.rpc import error_details_pb2, status_pb2
from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.reflection.v1 import reflection_pb2
from grpclib.reflection.v1alpha import reflection_pb2 as alpha_pb2

from grpclib_guard import fault_info
from tests.until import WITHIN_S

from .certificates import Certificates
from .service import BIG, CHAT, COUNT, ECHO, FAULTY, Probe

BYTES = {"request_serializer": BytesValue.SerializeToString, "response_deserializer": BytesValue.FromString}
BIGGEST = [("grpc.max_receive_message_length", 8 << 20)]


@pytest.fixture
async def channel(serve: Any) -> AsyncIterator[Any]:
    server = await serve()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=BIGGEST) as channel:
        yield channel


async def test_many_unary_calls_at_once(channel: Any) -> None:
    echo = channel.unary_unary(ECHO, **BYTES)
    answers = await asyncio.gather(*[echo(BytesValue(value=b"%d" % n)) for n in range(500)])
    assert [int(answer.value) for answer in answers] == list(range(500))


async def test_message_near_the_limit(channel: Any) -> None:
    body = bytes(range(256)) * (16 << 10)
    answer = await channel.unary_unary(ECHO, **BYTES)(BytesValue(value=body[:-16]))
    assert answer.value == body[:-16]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await channel.unary_unary(ECHO, **BYTES)(BytesValue(value=body))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_compression_is_refused(channel: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await channel.unary_unary(ECHO, **BYTES)(BytesValue(value=b"x" * 999), compression=grpc.Compression.Gzip)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_server_stream(channel: Any) -> None:
    count = channel.unary_stream(
        COUNT, request_serializer=Int64Value.SerializeToString, response_deserializer=BytesValue.FromString
    )
    assert [len(answer.value) async for answer in count(Int64Value(value=40))] == [BIG] * 40


async def test_conversation(channel: Any) -> None:
    chat = channel.stream_stream(CHAT, **BYTES)()
    for size in (0, 1, 70_000, 3 << 20):
        await chat.write(BytesValue(value=b"x" * size))
        assert len((await chat.read()).value) == size
    await chat.done_writing()
    assert await chat.read() is grpc.aio.EOF
    assert await chat.code() is grpc.StatusCode.OK


async def test_metadata(channel: Any, probe: Probe) -> None:
    await channel.unary_unary(ECHO, **BYTES)(
        BytesValue(), metadata=(("x-trace-bin", bytes(range(256))), ("authorization", "Bearer key"))
    )
    assert probe.metadata[0]["x-trace-bin"] == bytes(range(256))
    assert probe.metadata[0]["authorization"] == "Bearer key"


async def test_deadline(channel: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await channel.unary_unary("/guardtest.Probe/Held", **BYTES)(BytesValue(), timeout=0.05)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_cancelled_calls_leave_the_channel_well(channel: Any) -> None:
    held = channel.unary_unary("/guardtest.Probe/Held", **BYTES)
    for _ in range(100):
        call = held(BytesValue())
        await asyncio.sleep(0)
        call.cancel()
    assert (await channel.unary_unary(ECHO, **BYTES)(BytesValue(value=b"x"))).value == b"x"


async def test_details_of_errors_reach_grpcio(channel: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await channel.unary_unary(FAULTY, **BYTES)(BytesValue())
    assert error.value.details() == "too small: ä"
    raw = dict(error.value.trailing_metadata())["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(raw)
    assert status.code == Status.FAILED_PRECONDITION.value
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert (info.reason, info.domain, dict(info.metadata)) == ("TOO_SMALL", "guard.test", {"least": "7"})
    assert retry.retry_delay.ToMilliseconds() == 1_500


async def test_grpclib_client_reads_the_fault(serve: Any) -> None:
    async with Channel("127.0.0.1", (await serve()).port) as channel:
        with pytest.raises(GRPCError) as error:
            await UnaryUnaryMethod(channel, FAULTY, BytesValue, BytesValue)(BytesValue())
    assert error.value.status is Status.FAILED_PRECONDITION
    assert fault_info(error.value) == ("TOO_SMALL", {"least": "7", "retry_after_ms": "1500"})


async def test_grpclib_client_converses_and_is_refused_early(serve: Any) -> None:
    async with Channel("127.0.0.1", (await serve()).port) as channel:
        async with StreamStreamMethod(channel, CHAT, BytesValue, BytesValue).open() as stream:
            await stream.send_message(BytesValue(value=b"one"))
            assert (await stream.recv_message()).value == b"one"
            await stream.end()
        with pytest.raises(GRPCError) as error:
            await UnaryUnaryMethod(channel, ECHO, BytesValue, BytesValue)(BytesValue(value=bytes(8 << 20)))
    assert error.value.status is Status.RESOURCE_EXHAUSTED


async def test_more_grpclib_calls_than_streams_lose_only_those(serve: Any) -> None:
    """Such clients do not wait for our SETTINGS before their first calls."""
    async with Channel("127.0.0.1", (await serve(max_streams=10)).port) as channel:
        echo = UnaryUnaryMethod(channel, ECHO, BytesValue, BytesValue)
        answers = await asyncio.gather(*[echo(BytesValue()) for _ in range(50)], return_exceptions=True)
        assert sum(isinstance(answer, BytesValue) for answer in answers) >= 10
        assert await echo(BytesValue()) == BytesValue()


@pytest.mark.parametrize("pb", [reflection_pb2, alpha_pb2], ids=["v1", "v1alpha"])
async def test_reflection_tells_of_services_and_of_error_details(pb: Any, channel: Any) -> None:
    package = pb.DESCRIPTOR.package
    call = channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=pb.ServerReflectionRequest.SerializeToString,
        response_deserializer=pb.ServerReflectionResponse.FromString,
    )()
    await call.write(pb.ServerReflectionRequest(list_services=""))
    listed = (await call.read()).list_services_response.service
    assert {service.name for service in listed} == {"guardtest.Probe", "grpc.health.v1.Health"}
    for symbol in ("guardtest.Probe", "grpc.health.v1.Health", "google.rpc.Status", "google.rpc.ErrorInfo"):
        await call.write(pb.ServerReflectionRequest(file_containing_symbol=symbol))
        assert (await call.read()).file_descriptor_response.file_descriptor_proto
    await call.done_writing()


async def test_tls_speaks_http_2(serve: Any, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    server = await serve(ssl=certificates.server_context())
    credentials = grpc.ssl_channel_credentials(certificates.authority)
    async with grpc.aio.secure_channel(f"localhost:{server.port}", credentials) as channel:
        assert (await channel.unary_unary(ECHO, **BYTES)(BytesValue(value=b"x" * 3_000_000))).value


async def test_handlers_see_the_clients_certificate(serve: Any, tmp_path: Path, probe: Probe) -> None:
    certificates = Certificates(tmp_path)
    context = certificates.server_context()
    context.load_verify_locations(cadata=certificates.authority.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    server = await serve(ssl=context)
    key, chain = certificates.issue("agent-7")
    credentials = grpc.ssl_channel_credentials(certificates.authority, key, chain)
    async with grpc.aio.secure_channel(f"localhost:{server.port}", credentials) as channel:
        await channel.unary_unary(ECHO, **BYTES)(BytesValue())
    assert (("commonName", "agent-7"),) in probe.certificates[0]["subject"]


async def test_tls_peer_that_never_shakes_hands_is_closed(serve: Any, tmp_path: Path) -> None:
    server = await serve(ssl=Certificates(tmp_path).server_context(), handshake_timeout_ms=100)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(WITHIN_S):
        assert await reader.read() == b""
    writer.close()
