"""What has come for one call and waits for its handler, never more than flow control lets in."""

import asyncio
from collections.abc import Callable


class Truncated(Exception):
    """The peer ended the call in the middle of a message."""


class Stalled(Exception):
    """Nothing came within the time allowed."""


class Inbox:
    """Bytes of one call, in order. (grpclib's own takes 80 for one that came alone.)"""

    __slots__ = ("_acknowledge", "_changed", "_data", "_ended", "_owed")

    def __init__(self, acknowledge: Callable[[int], None]) -> None:
        self._acknowledge = acknowledge
        self._data = bytearray()
        self._ended = False
        self._changed = asyncio.Event()
        # Bytes of the window that the peer has used and not been given back.
        self._owed = 0

    def add(self, data: bytes, window_bytes: int) -> None:
        """Takes what came; `window_bytes` is `data` and its padding as flow control counts them."""
        self._data += data
        self._owed += window_bytes
        self._changed.set()

    def eof(self) -> None:
        self._ended = True
        self._changed.set()

    async def read(self, size: int, timeout_s: float | None = None, *, early: bool = False) -> bytes:
        """Exactly `size` bytes, or none at all at the end. `early` gives the window back before all have come.

        Raises Truncated, and Stalled after `timeout_s`.
        """
        if len(self._data) < size and not self._ended:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wait_for(size, early)
            except TimeoutError:
                raise Stalled from None
        if len(self._data) < size:
            if self._data:
                raise Truncated
            return b""
        chunk = bytes(memoryview(self._data)[:size])
        del self._data[:size]
        self._give_back(len(self._data))
        return chunk

    async def _wait_for(self, size: int, early: bool) -> None:
        while len(self._data) < size and not self._ended:
            if early:
                self._give_back(0)
            self._changed.clear()
            await self._changed.wait()

    def _give_back(self, keep: int) -> None:
        """Opens the window again, but for `keep` bytes that no handler has asked for yet."""
        if self._owed > keep:
            owed, self._owed = self._owed - keep, keep
            self._acknowledge(owed)

    def discard(self) -> None:
        """The call is over: whatever was not read counts as read."""
        self._data.clear()
        self._give_back(0)
