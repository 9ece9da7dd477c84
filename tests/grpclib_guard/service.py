"""A small service without generated code: bytes in, bytes out, and one method for each thing that can go wrong."""

import asyncio
from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value
from grpclib.const import Cardinality, Handler, Status

from grpclib_guard import fault

ECHO = "/guardtest.Probe/Echo"
COUNT = "/guardtest.Probe/Count"
CHAT = "/guardtest.Probe/Chat"
DEAF = "/guardtest.Probe/Deaf"
HELD = "/guardtest.Probe/Held"
BROKEN = "/guardtest.Probe/Broken"
FAULTY = "/guardtest.Probe/Faulty"

BIG = 200_000


class Probe:
    """`started` and `ended` count handlers, `release` lets Held and Deaf go on."""

    def __init__(self) -> None:
        self.started = self.ended = 0
        self.release = asyncio.Event()
        self.metadata: list[Mapping[str, Any]] = []
        self.certificates: list[Any] = []

    async def Echo(self, stream: Any) -> None:
        self.metadata.append(stream.metadata)
        self.certificates.append(stream.peer.cert())
        message = await stream.recv_message()
        await stream.send_message(message)

    async def Count(self, stream: Any) -> None:
        """As many large messages as the request says."""
        request = await stream.recv_message()
        for _ in range(request.value):
            await stream.send_message(BytesValue(value=b"x" * BIG))

    async def Chat(self, stream: Any) -> None:
        async for message in stream:
            await stream.send_message(message)

    async def Deaf(self, stream: Any) -> None:
        """Reads nothing until it is released."""
        await self.release.wait()
        async for message in stream:
            await stream.send_message(message)

    async def Held(self, stream: Any) -> None:
        self.started += 1
        try:
            message = await stream.recv_message()
            await self.release.wait()
            await stream.send_message(message)
        finally:
            self.ended += 1

    async def Broken(self, stream: Any) -> None:
        await stream.recv_message()
        raise ZeroDivisionError("secret of the server")

    async def Faulty(self, stream: Any) -> None:
        await stream.recv_message()
        raise fault(
            Status.FAILED_PRECONDITION, "TOO_SMALL", "too small: ä", {"least": "7"}, "guard.test", retry_after_ms=1_500
        )

    def __mapping__(self) -> dict[str, Handler]:
        unary, chat = Cardinality.UNARY_UNARY, Cardinality.STREAM_STREAM
        return {
            ECHO: Handler(self.Echo, unary, BytesValue, BytesValue),
            COUNT: Handler(self.Count, Cardinality.UNARY_STREAM, Int64Value, BytesValue),
            CHAT: Handler(self.Chat, chat, BytesValue, BytesValue),
            DEAF: Handler(self.Deaf, chat, BytesValue, BytesValue),
            HELD: Handler(self.Held, unary, BytesValue, BytesValue),
            BROKEN: Handler(self.Broken, unary, BytesValue, BytesValue),
            FAULTY: Handler(self.Faulty, unary, BytesValue, BytesValue),
        }


def _describe() -> None:
    """Puts the service into the descriptor pool, so that reflection can tell of it."""
    file = descriptor_pb2.FileDescriptorProto(name="guardtest/probe.proto", package="guardtest", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    service = file.service.add(name="Probe")
    for name in ("Echo", "Faulty"):
        value = ".google.protobuf.BytesValue"
        service.method.add(name=name, input_type=value, output_type=value)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


_describe()
