"""Calls by name with any bytes at all: what a client that nobody wrote would send."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import symbol_database
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from grpclib.client import Channel
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.exceptions import GRPCError

from gollem.rpc.pb import account_pb2, admin_pb2, credit_pb2, market_pb2, operator_pb2, payout_pb2, provider_pb2
from grpclib_guard import fault_info

_FILES = (market_pb2, provider_pb2, credit_pb2, payout_pb2, account_pb2, operator_pb2, admin_pb2)
METHODS: Mapping[str, MethodDescriptor] = {
    method.name: method
    for file in _FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_ANSWER_WITHIN_S = 60
_ENDLESS = frozenset({"Telemetry", "WatchOrderBook"})


@dataclass(frozen=True)
class Answer:
    """The status of a call by its name, "OK" too; reason and figures of its error, also of one inside a stream."""

    status: str
    reason: str = ""
    figures: Mapping[str, str] | None = None


class _AnyBytes(CodecBase):
    """Sends bytes as they are."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return message if isinstance(message, bytes) else message.SerializeToString()

    def decode(self, data: bytes, message_type: Any) -> Any:
        return message_type.FromString(data)


def raw_channel(port: int) -> Channel:
    return Channel("127.0.0.1", port, codec=_AnyBytes(), status_details_codec=ProtoStatusDetailsCodec())


async def call(channel: Channel, method: str, request: Message | bytes | None, metadata: Mapping[str, str]) -> Answer:
    """What one request is answered with; None sends no message. Of an endless stream, the first answer counts."""
    async with asyncio.timeout(_ANSWER_WITHIN_S):
        try:
            first = await _first_answer(channel, METHODS[method], request, metadata)
        except GRPCError as error:
            return Answer(error.status.name, *fault_info(error))
    if isinstance(first, market_pb2.MatchStreamResponse) and first.HasField("refusal"):
        refusal = first.refusal
        return Answer(Status(refusal.code).name, refusal.reason, dict(refusal.figures))
    return Answer("OK")


def request_type(method: str) -> type[Message]:
    made: type[Message] = symbol_database.Default().GetSymbol(METHODS[method].input_type.full_name)  # type: ignore
    return made


async def _first_answer(
    channel: Channel, method: MethodDescriptor, request: Message | bytes | None, metadata: Mapping[str, str]
) -> Any:
    path = f"/{method.containing_service.full_name}/{method.name}"
    answer_type = symbol_database.Default().GetSymbol(method.output_type.full_name)  # type: ignore
    # To the channel every call is a stream: only so can a message be left out.
    async with channel.request(path, Cardinality.STREAM_STREAM, bytes, answer_type, metadata=dict(metadata)) as stream:
        await stream.send_request()
        if request is not None:
            await stream.send_message(request)
        if method.name != "Telemetry" or request is None:
            await stream.end()
        first = await stream.recv_message()
        if method.name in _ENDLESS and first is not None:
            await stream.cancel()
        else:
            async for _ in stream:
                pass
    return first


def mistyped(method: str) -> bytes:
    """Every field of the request in a wire type that is not its own."""
    return b"".join(_mistyped_field(field) for field in METHODS[method].input_type.fields)


def not_utf8(method: str) -> bytes | None:
    """The first text of the request, be it in a message inside, with bytes that are no UTF-8; None without texts."""
    return next(_not_utf8(METHODS[method].input_type), None)


def _mistyped_field(field: FieldDescriptor) -> bytes:
    delimited = field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_BYTES)
    return _tag(field, 0) + b"\x01" if delimited else _tag(field, 2) + b"\x03abc"


def _not_utf8(message: Any) -> Iterator[bytes]:
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield _tag(field, 2) + b"\x02\xff\xfe"
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in _not_utf8(field.message_type):
                yield _tag(field, 2) + bytes([len(inner)]) + inner


def _tag(field: FieldDescriptor, wire_type: int) -> bytes:
    number = field.number << 3 | wire_type
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80, number >> 7])
