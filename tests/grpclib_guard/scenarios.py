"""What grpclib alone does not withstand, each as one question: does the server do well by its peers?

Every function gets a server and answers True where it does. test_hardening.py asks the guarded one and grpclib alone.
"""

import asyncio
import gc
from dataclasses import dataclass, field
from typing import Self

from grpclib.const import Status
from grpclib.protocol import Stream
from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame

from .raw import RawClient, data, message, reset
from .service import CHAT, DEAF, ECHO, HELD

ENHANCE_YOUR_CALM = 11


@dataclass(frozen=True)
class Target:
    """A server, and how long an answer of it is waited for; connections to it end with the block."""

    port: int
    patience_s: float
    _clients: list[RawClient] = field(default_factory=list)

    async def connect(self) -> RawClient:
        self._clients.append(await RawClient.connect(self.port))
        return self._clients[-1]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        for client in self._clients:
            await client.close()


async def survives(client: RawClient, target: Target) -> bool:
    """Whether the connection still serves."""
    try:
        async with asyncio.timeout(target.patience_s):
            return await client.status(ECHO) == Status.OK.value
    except (TimeoutError, EOFError):
        return False


async def odd_header(target: Target) -> bool:
    """1. A header value that is not ASCII costs one call, not the connection."""
    client = await target.connect()
    client.send(client.opening(ECHO, (b"x-name", "Jos\u00e9".encode())))
    return await survives(client, target)


async def undecodable_metadata(target: Target) -> bool:
    """2. `-bin` metadata that is not base64 is answered, and leaves no stream behind."""
    client = await target.connect()
    for _ in range(100):
        opening = client.opening(ECHO, (b"x-foo-bin", b"A"), end=True)
        client.send(opening)
    return await _status_of(client, target, opening.stream_id) is Status.INVALID_ARGUMENT and await survives(
        client, target
    )


async def reset_at_once(target: Target) -> bool:
    """3. HEADERS and RST_STREAM in one read leave no stream behind."""
    client = await target.connect()
    before = _live_streams()
    for _ in range(50):
        opening = client.opening(ECHO)
        client.send(opening, reset(opening.stream_id))
    await survives(client, target)
    return _live_streams() - before < 10


def _live_streams() -> int:
    gc.collect()
    return sum(isinstance(thing, Stream) for thing in gc.get_objects())


async def huge_message(target: Target) -> bool:
    """4. A message above the limit is refused by its length, before its bytes come."""
    return await _answer(target, message(b"", size=100 << 20), end=False) is Status.RESOURCE_EXHAUSTED


async def compressed_message(target: Target) -> bool:
    return await _answer(target, message(b"x", flag=1)) is Status.UNIMPLEMENTED


async def undecodable_message(target: Target) -> bool:
    return await _answer(target, b"\0\0\0\0\2\x0a\x7f") is Status.INVALID_ARGUMENT


async def truncated_message(target: Target) -> bool:
    return await _answer(target, message(b"x", size=50)) is Status.INVALID_ARGUMENT


async def no_message(target: Target) -> bool:
    return await _answer(target, b"") is Status.INVALID_ARGUMENT


async def huge_timeout(target: Target) -> bool:
    """A grpc-timeout beyond every number is answered."""
    return await _answer(target, message(b"x"), (b"grpc-timeout", b"9" * 400 + b"H")) is Status.INVALID_ARGUMENT


async def _answer(target: Target, payload: bytes, *extra: tuple[bytes, bytes], end: bool = True) -> Status | None:
    client = await target.connect()
    stream_id = client.start(ECHO, *extra)
    client.send(*data(stream_id, payload, end=end))
    return await _status_of(client, target, stream_id)


async def _status_of(client: RawClient, target: Target, stream_id: int) -> Status | None:
    try:
        async with asyncio.timeout(target.patience_s):
            return Status(int((await client.trailers(stream_id))["grpc-status"]))
    except (TimeoutError, EOFError):
        return None


async def reset_flood(target: Target) -> bool:
    """5. More cancelled calls a second than any client makes."""
    client = await target.connect()
    for _ in range(1_000):
        opening = client.opening(HELD)
        client.send(opening, reset(opening.stream_id))
    return await _is_told_to_calm_down(client, target)


async def ping_flood(target: Target) -> bool:
    client = await target.connect()
    client.send(*[PingFrame(0, b"12345678")] * 1_000)
    return await _is_told_to_calm_down(client, target)


async def settings_flood(target: Target) -> bool:
    client = await target.connect()
    client.send(*[SettingsFrame(0, settings={4: 65_535})] * 1_000)
    return await _is_told_to_calm_down(client, target)


async def empty_data_flood(target: Target) -> bool:
    client = await target.connect()
    stream_id = client.start(HELD)
    client.send(*[DataFrame(stream_id)] * 1_000)
    return await _is_told_to_calm_down(client, target)


async def _is_told_to_calm_down(client: RawClient, target: Target) -> bool:
    try:
        return await client.closed(target.patience_s) == ENHANCE_YOUR_CALM
    except TimeoutError:
        return False


async def deaf_handler(target: Target) -> bool:
    """7. A handler that reads nothing blocks its own call, not the others of its connection."""
    client = await target.connect()
    stream_id = client.start(DEAF)
    await client.wait_for(lambda frame: isinstance(frame, SettingsFrame) and frame.settings.get(4))
    room = min(client.stream_window, client.connection_window)
    client.send(*data(stream_id, bytes(room)))
    return client.connection_window - room > 1_000 and await survives(client, target)


async def says_why_it_closes(target: Target) -> bool:
    """A broken peer gets GOAWAY with the reason, not silence."""
    client = await target.connect()
    client.send(DataFrame(0x7FFF, data=b"never opened"))
    return await client.closed() is not None


async def unknown_frame(target: Target) -> bool:
    """Frames of types that nobody knows are to be ignored: clients send them to keep servers honest."""
    client = await target.connect()
    client.send_bytes(b"\0\0\4\x8b\0\0\0\0\0abcd")
    return await survives(client, target)


async def empty_data(target: Target) -> bool:
    """An empty DATA frame within a message changes nothing."""
    client = await target.connect()
    stream_id = client.start(ECHO)
    whole = message(b"in two parts")
    client.send(*data(stream_id, whole[:3]), DataFrame(stream_id), *data(stream_id, whole[3:], end=True))
    return (await client.trailers(stream_id))["grpc-status"] == "0"


async def oversized_frame(target: Target) -> bool:
    """A frame above the agreed size is refused by its length, before its bytes come."""
    client = await target.connect()
    client.send_bytes((15 << 20).to_bytes(3, "big") + b"\0\0\0\0\0\1" + bytes(64 << 10))
    try:
        return await client.closed(target.patience_s) is not None
    except TimeoutError:
        return False


async def one_stream_too_many(target: Target) -> bool:
    """A call above the agreed number is refused alone; the others go on."""
    client = await target.connect()
    for _ in range(100):
        client.start(CHAT)
    header = (b"x-new", b"that later headers refer to")
    one_more = client.start(ECHO, header)
    try:
        await client.wait_for(lambda f: isinstance(f, RstStreamFrame) and f.stream_id == one_more and f.error_code == 7)
    except EOFError:
        return False
    client.send(*data(1, message(b"still here"), end=True))
    return (await client.trailers(1))["grpc-status"] == "0" and await client.status(ECHO, b"x", header) == 0


async def client_goaway(target: Target) -> bool:
    """A client that says GOAWAY still wants the answers under way."""
    client = await target.connect()
    stream_id = client.start(ECHO)
    client.send(GoAwayFrame(0), *data(stream_id, message(b"last words"), end=True))
    try:
        return (await client.trailers(stream_id))["grpc-status"] == "0"
    except EOFError:
        return False


async def missing_pseudo_headers(target: Target) -> bool:
    """A call without :method and :path is answered."""
    client = await target.connect()
    frame = client.block([(b"te", b"trailers"), (b"content-type", b"application/grpc")], end=True)
    client.send(frame)
    try:
        async with asyncio.timeout(target.patience_s):
            return (await client.trailers(frame.stream_id))[":status"] == "405"
    except (TimeoutError, EOFError):
        return False
