"""A TCP proxy on a loopback port that loses what it is told to lose: requests, replies, or the whole connection."""

import asyncio
from contextlib import suppress
from enum import Enum

_CHUNK = 65_536


class Loss(Enum):
    """What happens to the next request on any connection."""

    REQUEST = "the connection is cut before the request reaches the server"
    REPLY = "the server gets the request, the connection is cut before the reply"
    SILENCE = "the request is swallowed, the connection stays open"
    LATE_REPLY = "the server gets the request, the reply never comes, the connection stays open"


class TcpProxy:
    """`async with TcpProxy(host, port) as proxy:` listens on `proxy.port`; `lose` plans losses, in order."""

    def __init__(self, host: str, port: int, delay_s: float = 0) -> None:
        self._target = (host, port)
        self._delay_s = delay_s  # of every request
        self._planned: list[Loss] = []
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.requests = 0

    @property
    def port(self) -> int:
        assert self._server is not None, "not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def lose(self, loss: Loss, times: int = 1) -> None:
        self._planned += [loss] * times

    @property
    def is_done(self) -> bool:
        """Whether everything planned has happened."""
        return not self._planned

    async def __aenter__(self) -> "TcpProxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One exchange of HTTP after the other: a request is over when its reply begins."""
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        try:
            while request := await reader.read(_CHUNK):
                loss = None
                if request.startswith((b"POST ", b"GET ")):
                    self.requests += 1
                    loss = self._planned.pop(0) if self._planned else None
                if not await self._exchange(loss, request, (reader, writer), (upstream_reader, upstream_writer)):
                    return
        finally:
            upstream_writer.close()

    async def _exchange(
        self,
        loss: Loss | None,
        request: bytes,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> bool:
        """Whether the connection goes on."""
        if loss is Loss.REQUEST:
            return False
        request = await _whole(client[0], request)
        if loss is Loss.SILENCE:
            return await _wait_for_the_end(client[0])
        await asyncio.sleep(self._delay_s)
        server[1].write(request)
        reply = await _whole(server[0], await server[0].read(_CHUNK))
        if loss is Loss.REPLY or not reply:
            return False
        if loss is Loss.LATE_REPLY:
            return await _wait_for_the_end(client[0])
        client[1].write(reply)
        await client[1].drain()
        return True


async def _whole(reader: asyncio.StreamReader, data: bytes) -> bytes:
    """The rest of a message whose length its header tells."""
    while data and b"\r\n\r\n" not in data:
        data += await reader.read(_CHUNK)
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            missing = int(value) - len(body)
            return data + (await reader.readexactly(missing) if missing > 0 else b"")
    return data


async def _wait_for_the_end(reader: asyncio.StreamReader) -> bool:
    with suppress(OSError):
        while await reader.read(_CHUNK):
            pass
    return False
