"""Child processes with a log file each: started, watched until they are ready, ended whatever happens."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from gollem.cli.failure import Failure

_LOG_LINES = 15
STOP_TIMEOUT_S = 5.0
_POLL_S = 0.05
_HTTP_TIMEOUT_S = 1.0
_ENDING = (signal.SIGINT, signal.SIGTERM)


class Processes:
    """A family of children. Leaving the block ends them all, unless `keep` was called.

    SIGTERM and Ctrl-C cancel the task that is in the block, and so leave it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._kept = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        for number in _ENDING:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            loop.add_signal_handler(number, _ignore)  # a second Ctrl-C must leave no child behind; stopping is bounded
        if not self._kept or error:
            await asyncio.shield(self.stop())
        for number in _ENDING:
            loop.remove_signal_handler(number)

    async def start(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """Start a child. It gets a session of its own, so that a Ctrl-C reaches only us, and we end it in order."""
        with self.log(name).open("wb") as log:
            self._children[name] = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | (environment or {}),
                start_new_session=True,
            )

    async def kill(self, name: str) -> None:
        """End a child without a warning, and think no more of it."""
        child = self._children.pop(name)
        child.kill()
        await child.wait()

    async def wait_until(self, what: str, ready: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
        """Poll `ready`. Raises Failure when a child dies first, or when it takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                while not await ready():
                    self.check()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            logs = ", ".join(str(self.log(name)) for name in self._children)
            raise Failure(f"{what} is not ready after {timeout_s:.0f} s", f"Look into {logs}.") from None

    def check(self) -> None:
        """Raises Failure, with the end of its log, if a child has ended."""
        for name, child in self._children.items():
            if child.returncode is not None:
                ended = f"{name} ended with status {child.returncode}; the end of its log {self.log(name)}:"
                raise Failure(f"{ended}\n{self._tail(name)}\n", "Mend what it says, then run this again.")

    def log(self, name: str) -> Path:
        """The file of a child's output."""
        return self._folder / f"{name}.log"

    def keep(self) -> None:
        """Let the children go on after the block, if it ends well."""
        self._kept = True

    def pids(self) -> list[int]:
        """Process ids of the children."""
        return [child.pid for child in self._children.values()]

    async def stop(self) -> None:
        """End all: the youngest first, politely, then for good."""
        for child in reversed(self._children.values()):
            await _end(child)
        self._children.clear()

    def _tail(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"


def _ignore() -> None:
    pass


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            child.send_signal(number)
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await child.wait()
            return
        except ProcessLookupError:
            return
        except TimeoutError:
            continue


def free_port(wanted: int = 0) -> int:
    """A port of this machine that nobody listens on now: the one that is wanted, if it is free."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
        port: int = listener.getsockname()[1]
        return port


async def answers(port: int) -> bool:
    """Whether something listens on the port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def is_healthy(port: int) -> bool:
    """Whether the HTTP server on the port answers GET /health with 200: a model server listens before it is ready."""
    try:
        async with asyncio.timeout(_HTTP_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
                return (await reader.readline()).split()[1:2] == [b"200"]
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
