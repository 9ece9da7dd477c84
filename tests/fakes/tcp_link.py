"""A link between a client and a TCP server that becomes slow, is cut, goes half-open or loses an answer when told."""

import asyncio
from contextlib import suppress

_CHUNK = 65_536


class TcpLink:
    """`async with TcpLink(host, port) as link:` listens on `link.port`. It knows nothing of what passes."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)  # of connections that come
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, list[asyncio.StreamWriter]] = {}  # both ends, the oldest first
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._doomed: list[bytes] = []
        self.delay_s = 0.0  # of everything that passes, either way
        self.is_refusing = False  # new connections are closed at once
        self.connections = 0
        self.bytes = 0

    @property
    def port(self) -> int:
        assert self._server is not None, "not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self, spared: int = 0) -> None:
        """Break every connection, also those that are being made, but for the oldest."""
        for ends in list(self._connections.values())[spared:]:
            for end in ends:
                end.transport.abort()

    def stall(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass on what was held up, and all that follows."""
        self._flows.set()

    def lose_answer(self, marker: bytes, times: int = 1) -> None:
        """The next request with this in it reaches the server, and then its connection breaks."""
        self._doomed += [marker] * times

    @property
    def is_done(self) -> bool:
        """Whether every answer that was to be lost is."""
        return not self._doomed

    async def __aenter__(self) -> "TcpLink":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        if self.is_refusing:
            writer.transport.abort()
            return
        ends = self._connections[writer] = [writer]
        try:
            with suppress(OSError):
                await self._join(reader, writer, ends)
        finally:
            del self._connections[writer]
            for end in ends:
                end.transport.abort()

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: list[asyncio.StreamWriter]
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        ends.append(far_writer)
        if writer.transport.is_closing():
            return  # cut meanwhile: nothing that it was given may reach where it led to
        lost = asyncio.Event()
        await asyncio.gather(self._pass(reader, far_writer, lost, True), self._pass(far_reader, writer, lost, False))

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event, is_request: bool
    ) -> None:
        """Until either end is gone. Raises ConnectionResetError where an answer is to be lost."""
        while data := await reader.read(_CHUNK):
            await asyncio.sleep(self.delay_s)
            await self._flows.wait()
            if is_request and self._doomed and self._doomed[0] in data:
                self._doomed.pop(0)
                lost.set()
            elif not is_request and lost.is_set():
                raise ConnectionResetError
            self.bytes += len(data)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError
