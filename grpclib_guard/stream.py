"""grpclib's connection and stream, bounded in what they hold and in how long they wait for the peer."""

import asyncio
from functools import partial

from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import Connection, Stream

from .frames import GuardedH2
from .inbox import Inbox
from .limits import Limits


class GuardedConnection(Connection):
    """grpclib's view of the connection, with what all its calls share."""

    _connection: GuardedH2

    def __init__(self, h2: GuardedH2, transport: asyncio.Transport) -> None:
        super().__init__(h2, transport, config=Configuration().__for_server__())
        # Bytes of large messages that are being put together now.
        self.large_bytes = 0
        # While the server stops: new calls are refused, and then those under way are cut off.
        self.refusing = self.stopping = False

    def headers_send_process(self) -> None:
        self._connection.pay()

    def data_send_process(self) -> None:
        self._connection.pay()

    def ack(self, stream_id: int, size: int) -> None:
        if not self.is_closing():
            super().ack(stream_id, size)


class GuardedStream(Stream):
    """One call's HTTP/2 stream: bounded in what it holds, and in how long it waits for a peer that does not read."""

    connection: GuardedConnection
    id: int

    def __init__(self, connection: GuardedConnection, stream_id: int, limits: Limits, is_own: bool) -> None:
        super().__init__(connection, connection._connection, connection._transport, stream_id=stream_id)
        self.limits = limits
        # Health and reflection: nobody waits for them to end.
        self.is_own = is_own
        self.inbox = Inbox(partial(connection.ack, stream_id))

    async def send_data(self, data: bytes, end_stream: bool = False) -> None:
        rest = memoryview(data)
        while True:
            room = self._room() or await self._wait_for_room()
            part, rest = rest[:room], rest[room:]
            self._h2_connection.send_data(self.id, bytes(part), end_stream=end_stream and not rest)
            self._transport.write(self._h2_connection.data_to_send())
            self.connection.data_send_process()
            if not rest:
                return

    def _room(self) -> int:
        """Bytes that may be sent now."""
        if not self.connection.write_ready.is_set():
            return 0
        window = self._h2_connection.local_flow_control_window(self.id)
        return max(0, min(window, self._h2_connection.max_outbound_frame_size))

    async def _wait_for_room(self) -> int:
        try:
            async with asyncio.timeout(self.limits.stall_timeout_ms / 1_000):
                while True:
                    self.window_updated.clear()
                    await self.connection.write_ready.wait()
                    if room := self._room():
                        return room
                    await self.window_updated.wait()
        except TimeoutError:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "the client does not read its answers") from None
