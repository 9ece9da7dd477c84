"""One call, from its headers to its trailers: whatever happens in between, the peer gets a status and no detail."""

import asyncio
import logging
import struct
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError
from grpclib.const import Handler, Status
from grpclib.encoding.proto import ProtoCodec, ProtoStatusDetailsCodec
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import GRPCError
from grpclib.metadata import encode_bin_value, encode_grpc_message
from grpclib.server import Stream
from h2.exceptions import H2Error

from .budget import Budget
from .faults import fault
from .inbox import Stalled, Truncated
from .limits import Limits
from .opening import Opening, Refused, read_opening
from .stream import GuardedStream

log = logging.getLogger("grpclib_guard")

_PREFIX = struct.Struct(">BI")
_LOG_LINES_PER_SECOND = 5


class Call(Stream[Any, Any]):
    """grpclib's stream for handlers, with a receive that trusts nobody."""

    _stream: GuardedStream

    async def recv_message(self) -> Any:
        """The next message, None after the last. Raises GRPCError for whatever the peer did wrong.

        A call of one request always gets it: None is for streams only.
        """
        limits = self._stream.limits
        is_first = not self._messages_received
        try:
            head = await self._stream.inbox.read(_PREFIX.size, limits.stall_timeout_ms / 1_000 if is_first else None)
            if not head and is_first and not self._cardinality.client_streaming:
                raise GRPCError(Status.INVALID_ARGUMENT, "the request has no message")
            return self._decode(await self._recv_body(*_PREFIX.unpack(head))) if head else None
        except Truncated:
            raise GRPCError(Status.INVALID_ARGUMENT, "the request ends within a message") from None
        except Stalled:
            raise GRPCError(Status.DEADLINE_EXCEEDED, "the message did not come in time") from None

    async def _recv_body(self, flag: int, size: int) -> bytes:
        if flag:
            raise GRPCError(Status.UNIMPLEMENTED, "compressed messages are not supported")
        limits, inbox, connection = self._stream.limits, self._stream.inbox, self._stream.connection
        if size > limits.max_message_bytes:
            message = f"a message of {size} bytes; at most {limits.max_message_bytes} are taken"
            raise GRPCError(Status.RESOURCE_EXHAUSTED, message)
        stall_s = limits.stall_timeout_ms / 1_000
        # h2 opens a window again when half of it is used up: what is no larger fits without our help.
        if size + _PREFIX.size <= limits.stream_window_bytes // 2:
            return await inbox.read(size, stall_s)
        if connection.large_bytes + size > limits.connection_window_bytes:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "too many large messages at once on this connection")
        connection.large_bytes += size
        try:
            return await inbox.read(size, stall_s, early=True)
        finally:
            connection.large_bytes -= size

    def _decode(self, body: bytes) -> Any:
        try:
            message = self._codec.decode(body, self._recv_type)
        except (DecodeError, ValueError):
            raise GRPCError(Status.INVALID_ARGUMENT, "the message cannot be decoded") from None
        self._messages_received += 1
        return message


class Calls:
    """Serves every call of a server."""

    def __init__(self, methods: Mapping[str, Handler], dispatch: _DispatchServerEvents, limits: Limits) -> None:
        self._methods = methods
        self._dispatch = dispatch
        self._codec = ProtoCodec()
        # Named, because grpclib leaves details out where only the codec is.
        self._details_codec = ProtoStatusDetailsCodec()
        self._log_budget = Budget(_LOG_LINES_PER_SECOND)
        self._unlogged = 0
        self.faults = 0

    async def serve(self, stream: GuardedStream, headers: list[tuple[str, str]]) -> None:
        """Never raises but CancelledError."""
        try:
            if stream.connection.refusing:
                raise Refused(200, Status.UNAVAILABLE, "the server is stopping")
            opening = read_opening(headers, self._methods)
            call = self._call(stream, opening)
            async with call:
                await self._run(call, opening)
        except Refused as refused:
            await _refuse(stream, refused)
        except H2Error:
            pass  # the peer has gone; nobody is left to tell
        except Exception:
            self._report("a call could not be answered")

    def _call(self, stream: GuardedStream, opening: Opening) -> Call:
        return Call(
            stream,
            opening.method_name,
            opening.method.cardinality,
            opening.method.request_type,
            opening.method.reply_type,
            codec=self._codec,
            status_details_codec=self._details_codec,
            dispatch=self._dispatch,
            deadline=opening.deadline,
            user_agent=opening.user_agent,
        )

    async def _run(self, call: Call, opening: Opening) -> None:
        try:
            async with asyncio.timeout(opening.deadline.time_remaining() if opening.deadline else None) as clock:
                call.metadata, handler = await self._dispatch.recv_request(
                    opening.metadata,
                    opening.method.func,
                    method_name=opening.method_name,
                    deadline=opening.deadline,
                    content_type=opening.content_type,
                    user_agent=opening.user_agent,
                    peer=call.peer,
                )
                await handler(call)
                if not (call._cardinality.server_streaming or call._send_message_done):
                    raise RuntimeError("the handler sent no message")
        except (GRPCError, H2Error):
            raise
        except asyncio.CancelledError:
            if call._stream.connection.stopping:
                raise GRPCError(Status.UNAVAILABLE, "the server is stopping") from None
            raise
        except Exception:
            if clock.expired():
                raise GRPCError(Status.DEADLINE_EXCEEDED, "the deadline has passed") from None
            self._report(f"unhandled exception in {opening.method_name}")
            raise GRPCError(Status.INTERNAL, "internal error") from None

    def _report(self, what: str) -> None:
        self.faults += 1
        if not self._log_budget.spend():
            self._unlogged += 1
            return
        log.exception("%s (%d more since the last line)", what, self._unlogged)
        self._unlogged = 0


def _details(refused: Refused) -> str:
    """As every other error has: here it is the call that is no good, before its message has been looked at."""
    error = fault(refused.status, "INVALID_CALL", refused.message)
    encoded: bytes = encode_bin_value(ProtoStatusDetailsCodec().encode(error.status, error.message, error.details))
    return encoded.decode("ascii")


async def _refuse(stream: GuardedStream, refused: Refused) -> None:
    headers = [
        (":status", str(refused.http_status)),
        ("content-type", "application/grpc"),
        ("grpc-status", str(refused.status.value)),
        ("grpc-message", encode_grpc_message(refused.message)),
        ("grpc-status-details-bin", _details(refused)),
    ]
    try:
        await stream.send_headers(headers, end_stream=True)
        if stream.closable:
            stream.reset_nowait()
    except H2Error:
        pass
