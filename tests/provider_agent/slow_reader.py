"""A consumer that takes its answer a few bytes at a time, as HTTP/2 lets it."""

import asyncio
import struct

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes

from provider_agent.pb.common_pb2 import Chunk
from provider_agent.pb.inference_pb2 import GenerateRequest, GenerateResponse

_STREAM = 1
_PREFIX = struct.Struct(">BI")


class SlowReader:
    """Opens its window by `sip_bytes` whenever nothing has come for `pause_ms`, until the agent ends the call."""

    def __init__(self, sip_bytes: int, pause_ms: int) -> None:
        self._sip_bytes = sip_bytes
        self._pause_ms = pause_ms
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.data = b""
        self.grpc_status = ""
        self._ended = False

    def chunks(self) -> list[Chunk]:
        """What has come whole. Raises DecodeError where messages do not follow one another."""
        found, rest = [], self.data
        while len(rest) >= _PREFIX.size and len(rest) >= (end := _PREFIX.size + _PREFIX.unpack_from(rest)[1]):
            found.append(GenerateResponse.FromString(rest[_PREFIX.size : end]).chunk)
            rest = rest[end:]
        return found

    async def generate(self, endpoint: str, request: GenerateRequest) -> None:
        """Returns when the call has ended: then `grpc_status` is set, unless it was reset."""
        host, _, port = endpoint.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        self._ask(host, request.SerializeToString())
        try:
            while not self._ended:
                writer.write(self._h2.data_to_send())
                await self._take(reader)
        finally:
            writer.close()

    def _ask(self, host: str, body: bytes) -> None:
        self._h2.initiate_connection()
        self._h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: self._sip_bytes})
        path = "/gollem.v1.InferenceService/Generate"
        headers = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", host)]
        self._h2.send_headers(_STREAM, [*headers, ("content-type", "application/grpc"), ("te", "trailers")])
        self._h2.send_data(_STREAM, _PREFIX.pack(0, len(body)) + body, end_stream=True)

    async def _take(self, reader: asyncio.StreamReader) -> None:
        try:
            async with asyncio.timeout(self._pause_ms / 1_000):
                data = await reader.read(1 << 16)
        except TimeoutError:
            self._h2.increment_flow_control_window(self._sip_bytes, _STREAM)
            return
        self._ended = not data
        for event in self._h2.receive_data(data):
            self._see(event)

    def _see(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            self.data += event.data
        if isinstance(event, TrailersReceived):
            self.grpc_status = str(dict(event.headers).get("grpc-status", ""))
        self._ended |= isinstance(event, StreamEnded | StreamReset)
