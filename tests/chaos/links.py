"""Links in a process of their own, so that a busy load does not slow what passes between nodes and their servers.

`python -m tests.chaos.links` reads a command a line, JSON of [link, method, argument...], and answers with a line each.
"""

import asyncio
import json
import sys
from typing import Any

import uvloop

from tests.fakes.tcp_link import TcpLink


class Links:
    """`async with` it; `await open(port)` makes a link to a port of this machine."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._count = 0

    async def __aenter__(self) -> "Links":
        command = (sys.executable, "-m", "tests.chaos.links")
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def open(self, port: int) -> "RemoteLink":
        number, self._count = self._count, self._count + 1
        return RemoteLink(self, number, int(await self.tell(number, "open", port)))

    async def tell(self, *command: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        return json.loads(await self._process.stdout.readline())


class RemoteLink:
    """A TcpLink there; `port` is where it listens."""

    def __init__(self, links: Links, number: int, port: int) -> None:
        self._links = links
        self._number = number
        self.port = port

    async def slow(self, delay_s: float) -> None:
        """Everything that passes, either way."""
        await self._links.tell(self._number, "slow", delay_s)

    async def cut(self) -> None:
        """Break every connection, and refuse new ones until `mend`."""
        await self._links.tell(self._number, "cut")

    async def stall(self) -> None:
        """Nothing passes until `mend`, and nobody is told."""
        await self._links.tell(self._number, "stall")

    async def mend(self) -> None:
        await self._links.tell(self._number, "mend")


async def _obey(links: dict[int, TcpLink], number: int, method: str, *arguments: Any) -> Any:
    if method == "open":
        links[number] = await TcpLink("127.0.0.1", *arguments).__aenter__()
        return links[number].port
    link = links[number]
    match method:
        case "slow":
            [link.delay_s] = arguments
        case "cut":
            link.is_refusing = True
            link.cut()
        case "stall":
            link.stall()
        case "mend":
            link.is_refusing = False
            link.delay_s = 0
            link.flow()
    return None


async def _serve() -> None:
    """Until stdin ends."""
    links: dict[int, TcpLink] = {}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await _obey(links, *json.loads(line))), flush=True)


if __name__ == "__main__":
    uvloop.run(_serve())
