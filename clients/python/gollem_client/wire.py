"""The only file that knows gRPC: calls by their route, and its errors turned into the client's own."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import TypeVar

import betterproto
import h2.exceptions
from google.rpc.error_details_pb2 import ErrorInfo
from grpclib import GRPCError, Status
from grpclib.client import Channel, Stream
from grpclib.const import Cardinality
from grpclib.exceptions import ProtocolError, StreamTerminatedError

from gollem_client.errors import ExchangeUnreachable, GollemError, OutcomeUnknown, from_reason

Request = TypeVar("Request", bound=betterproto.Message)
Answer = TypeVar("Answer", bound=betterproto.Message)

# A peer that breaks the connection, HTTP/2, gRPC or protobuf. OSError covers time-outs and TLS.
BROKEN = (
    OSError, EOFError, StreamTerminatedError, ProtocolError, h2.exceptions.H2Error, ValueError, NotImplementedError,
)  # fmt: skip

# What a status means when it comes without a reason: from a proxy, or from gRPC itself.
_REASON_BY_STATUS = {
    Status.UNAUTHENTICATED: "UNAUTHENTICATED",
    Status.PERMISSION_DENIED: "FORBIDDEN",
    Status.INVALID_ARGUMENT: "INVALID_FIELD",
    Status.RESOURCE_EXHAUSTED: "RATE_LIMITED",
    Status.UNIMPLEMENTED: "NOT_IMPLEMENTED",
    Status.UNAVAILABLE: "SHUTTING_DOWN",
    Status.DEADLINE_EXCEEDED: "OUTCOME_UNKNOWN",
    Status.CANCELLED: "OUTCOME_UNKNOWN",
}


class NotConnected(ConnectionError):
    """There is no connection: whatever was to be sent was not."""


def from_grpc(error: GRPCError) -> GollemError:
    """The client's own error for one of gRPC's."""
    message = error.message or error.status.name
    for detail in error.details or ():
        if isinstance(detail, ErrorInfo):
            return from_reason(detail.reason, message, dict(detail.metadata))
    return from_reason(_REASON_BY_STATUS.get(error.status, error.status.name), message, {})


@contextmanager
def own_errors(peer: str, unreachable: type[GollemError] = ExchangeUnreachable) -> Iterator[None]:
    """Whatever goes wrong inside leaves as a GollemError; `peer` names who was called."""
    try:
        yield
    except GRPCError as error:
        raise from_grpc(error) from None
    except NotConnected as error:
        raise unreachable(f"no connection to {peer}: {error}") from error
    except TimeoutError as error:
        raise OutcomeUnknown(f"{peer} has not answered in time") from error
    except BROKEN as error:
        raise OutcomeUnknown(f"{peer} broke the connection: {type(error).__name__}: {error}") from error


async def unary(
    channel: Channel,
    route: str,
    request: betterproto.Message,
    answer_type: type[Answer],
    metadata: dict[str, str],
    timeout_s: float,
) -> Answer:
    """One request, one answer. Raises what gRPC raises: see own_errors."""
    call = channel.request(
        route, Cardinality.UNARY_UNARY, type(request), answer_type, metadata=metadata, timeout=timeout_s
    )
    async with call as stream:
        await stream.send_message(request, end=True)
        answer = await stream.recv_message()
    if answer is None:
        raise ProtocolError("the call ended well, but without an answer")
    return answer


async def server_stream(
    channel: Channel,
    route: str,
    request: betterproto.Message,
    answer_type: type[Answer],
    metadata: dict[str, str],
) -> AsyncGenerator[Answer, None]:
    """One request, many answers. Closing the iterator resets the stream, which tells the peer to stop."""
    call = channel.request(route, Cardinality.UNARY_STREAM, type(request), answer_type, metadata=metadata)
    async with call as stream:
        await stream.send_message(request, end=True)
        async for answer in stream:
            yield answer


async def both_ways(
    channel: Channel,
    route: str,
    first: Request,
    requests: "asyncio.Queue[Request]",
    answer_type: type[Answer],
    metadata: dict[str, str],
) -> AsyncGenerator[Answer, None]:
    """Many requests and many answers, independent of each other. Ends when the peer ends it or sending fails."""
    call = channel.request(route, Cardinality.STREAM_STREAM, type(first), answer_type, metadata=metadata)
    async with call as stream:
        await stream.send_message(first)
        sending = asyncio.ensure_future(_send_all(stream, requests))
        try:
            async for answer in stream:
                yield answer
        finally:
            sending.cancel()
            # Its failure is the stream's, which is told above.
            await asyncio.gather(sending, return_exceptions=True)


async def _send_all(stream: Stream[Request, Answer], requests: "asyncio.Queue[Request]") -> None:
    while True:
        await stream.send_message(await requests.get())
