"""An HTTP/2 client that obeys nothing: frames go out as they are given, and come back as they are."""

import asyncio
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue
from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE_S = 30.0


def message(payload: bytes, *, flag: int = 0, size: int | None = None) -> bytes:
    """A gRPC message that holds a BytesValue of `payload`; `size` lies about its length."""
    body = BytesValue(value=payload).SerializeToString()
    return bytes([flag]) + (len(body) if size is None else size).to_bytes(4, "big") + body


def data(stream_id: int, payload: bytes, *, end: bool = False) -> list[Frame]:
    """DATA frames for `payload`."""
    parts = [payload[at : at + 16_384] for at in range(0, len(payload), 16_384)] or [b""]
    frames = [DataFrame(stream_id, data=part) for part in parts]
    if end:
        frames[-1].flags.add("END_STREAM")
    return list(frames)


def reset(stream_id: int) -> Frame:
    return RstStreamFrame(stream_id, error_code=8)


class RawClient:
    """One connection. Frames that were read are kept in `seen`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._next_id = 1
        self.seen: list[Any] = []
        # What flow control lets us send: on the connection, and on every new stream.
        self.connection_window = 65_535
        self.stream_window = 65_535

    @classmethod
    async def connect(cls, port: int, *, greet: bool = True, settings: dict[int, int] | None = None) -> "RawClient":
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        if greet:
            client.send_bytes(PREFACE)
            client.send(SettingsFrame(0, settings=settings or {}))
            await client.wait_for(lambda frame: isinstance(frame, SettingsFrame) and "ACK" in frame.flags)
            client.send(SettingsFrame(0, flags=["ACK"]))
        return client

    def send_bytes(self, raw: bytes) -> None:
        self._writer.write(raw)

    def send(self, *frames: Frame) -> None:
        self.send_bytes(b"".join(frame.serialize() for frame in frames))

    def stop_reading(self) -> None:
        self._reader._transport.pause_reading()  # type: ignore[attr-defined]

    def opening(self, path: str, *extra: tuple[bytes, bytes], end: bool = False) -> HeadersFrame:
        """HEADERS of a new call."""
        headers: list[tuple[bytes, bytes]] = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"test"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            *extra,
        ]
        return self.block(headers, end=end)

    def block(self, headers: list[tuple[bytes, bytes]], *, end: bool = False) -> HeadersFrame:
        frame = HeadersFrame(self._next_id, data=self._encoder.encode(headers), flags=["END_HEADERS"])
        if end:
            frame.flags.add("END_STREAM")
        self._next_id += 2
        return frame

    def start(self, path: str, *extra: tuple[bytes, bytes]) -> int:
        """Opens a call and leaves it there; the id of its stream."""
        frame = self.opening(path, *extra)
        self.send(frame)
        return frame.stream_id

    async def call(self, path: str, payload: bytes = b"x", *extra: tuple[bytes, bytes]) -> dict[str, str]:
        """A whole unary call; its trailers."""
        frame = self.opening(path, *extra)
        self.send(frame, *data(frame.stream_id, message(payload), end=True))
        return await self.trailers(frame.stream_id)

    async def status(self, path: str, payload: bytes = b"x", *extra: tuple[bytes, bytes]) -> int:
        return int((await self.call(path, payload, *extra))["grpc-status"])

    async def trailers(self, stream_id: int) -> dict[str, str]:
        frame = await self.wait_for(
            lambda f: f.stream_id == stream_id and isinstance(f, HeadersFrame) and "END_STREAM" in f.flags
        )
        return dict(frame.headers)

    async def wait_for(self, wanted: Any, patience_s: float = PATIENCE_S) -> Any:
        """The first frame, read before or now, that is wanted. Raises EOFError, TimeoutError."""
        for frame in self.seen:
            if wanted(frame):
                return frame
        async with asyncio.timeout(patience_s):
            while True:
                frame = await self._read()
                if frame is None:
                    raise EOFError
                if wanted(frame):
                    return frame

    async def closed(self, patience_s: float = PATIENCE_S) -> int | None:
        """Reads until the server closes; the code of its GOAWAY, None where it sent none. Raises TimeoutError."""
        async with asyncio.timeout(patience_s):
            while await self._read() is not None:
                pass
        return next((frame.error_code for frame in self.seen if isinstance(frame, GoAwayFrame)), None)

    async def _read(self) -> Any:
        try:
            head = await self._reader.readexactly(9)
            frame, length = Frame.parse_frame_header(memoryview(head))
            frame.parse_body(memoryview(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        if isinstance(frame, HeadersFrame):
            frame.headers = self._decoder.decode(frame.data)  # type: ignore[attr-defined]
        elif isinstance(frame, WindowUpdateFrame) and frame.stream_id == 0:
            self.connection_window += frame.window_increment
        elif isinstance(frame, SettingsFrame):
            self.stream_window = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self.stream_window)
        self.seen.append(frame)
        return frame

    async def close(self) -> None:
        self._writer.transport.abort()


def split(frame: HeadersFrame, pieces: int) -> list[Frame]:
    """One HEADERS frame as HEADERS and CONTINUATION."""
    size = -(-len(frame.data) // pieces)
    first, *rest = [frame.data[at : at + size] for at in range(0, len(frame.data), size)]
    frames: list[Frame] = [HeadersFrame(frame.stream_id, data=first, flags=frame.flags - {"END_HEADERS"})]  # type: ignore
    frames += [ContinuationFrame(frame.stream_id, data=part) for part in rest]
    frames[-1].flags.add("END_HEADERS")
    return frames
