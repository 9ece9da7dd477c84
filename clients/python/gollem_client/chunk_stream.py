"""What both ways of generating share: iteration that cleans up after itself, and measuring."""

import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from gollem_client.stubs import Chunk, MatchResponse, Receipt


@dataclass(frozen=True, slots=True)
class Measured:
    """What the client saw of an answer."""

    # From sending the request to the first chunk.
    ttft_ms: float
    completion_tokens: int
    # After the first token; None with fewer than two.
    throughput_tps: float | None


class Stopwatch:
    """Times one answer."""

    def __init__(self, now_s: Callable[[], float] = time.perf_counter) -> None:
        self._now_s = now_s
        self._began_s = now_s()
        self._first_s: float | None = None
        self._last_s = self._began_s
        self._chunks = 0

    def saw(self, chunk: Chunk) -> None:
        """Note the arrival of a chunk; only text counts as tokens."""
        self._last_s = self._now_s()
        if self._first_s is None:
            self._first_s = self._last_s
        self._chunks += bool(chunk.text)

    def measured(self, completion_tokens: int | None) -> Measured | None:
        """The figures so far; None before the first chunk. Without a count of tokens, chunks are counted."""
        if self._first_s is None:
            return None
        tokens = self._chunks if completion_tokens is None else completion_tokens
        span_s = self._last_s - self._first_s
        speed = (tokens - 1) / span_s if tokens > 1 and span_s > 0 else None
        return Measured((self._first_s - self._began_s) * 1_000, tokens, speed)


class ChunkStream(ABC):
    """An answer as it is generated: `async for chunk in stream`, once.

    Leaving the loop early, cancelling the task and `aclose()` all stop the generation at the provider. A `break` is
    noticed because nothing but the loop holds the iterator; where that is too subtle, use `async with stream:`.
    """

    def __init__(self) -> None:
        # Who serves the order and what is held; None until it is matched.
        self.match: MatchResponse | None = None
        # What it cost; after the end, None where the provider has not settled yet.
        self.receipt: Receipt | None = None
        # After the end, or after leaving early; None when nothing arrived.
        self.measured: Measured | None = None
        # All text so far.
        self.text = ""
        # "stop" or "length" after the end.
        self.finish_reason = ""
        self._iterator: weakref.ref[AsyncGenerator[Chunk, None]] | None = None

    @abstractmethod
    def _chunks(self) -> AsyncGenerator[Chunk, None]:
        """The chunks; its own `finally` releases everything."""

    def __aiter__(self) -> AsyncIterator[Chunk]:
        if self._iterator is not None:
            raise RuntimeError("an answer can be iterated once")
        iterator = self._chunks()
        self._iterator = weakref.ref(iterator)
        return iterator

    async def aclose(self) -> None:
        """Stop the generation. Not while another task waits for a chunk: cancel that task instead."""
        iterator = self._iterator() if self._iterator else None
        if iterator is not None:
            await iterator.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def complete(self) -> str:
        """The whole text, once it is there."""
        async for _ in self:
            pass
        return self.text
