"""Watches whether the model server can take work: nothing is sold before it answers, nor while it is away."""

import asyncio
import logging
from collections.abc import Callable

from provider_agent.backoff import Backoff
from provider_agent.upstream import Upstream, UpstreamFailed

_log = logging.getLogger(__name__)

# One failure may be a hiccup; each order that fails in between costs the provider reputation.
_FAILURES = 3
_MOST_PAUSE_MS = 5_000
_MOST_NAMED = 5


class ModelWatch:
    """Looks every `pause_ms` while the server is there, less and less often while it is not."""

    def __init__(self, upstream: Upstream, pause_ms: int, changed: Callable[[], None]) -> None:
        self._upstream = upstream
        self._pause_ms = pause_ms
        self._changed = changed
        self._backoff = Backoff(most_ms=_MOST_PAUSE_MS)
        self._failures = 0
        # Set while the model server takes work.
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Watch for as long as the agent runs; `changed` is called when `ready` has changed."""
        while True:
            try:
                self._answered(await self._upstream.models())
            except UpstreamFailed as error:
                self._failed(error)
            there = self.ready.is_set()
            await asyncio.sleep(self._pause_ms / 1_000 if there else self._backoff.pause_s())

    def _answered(self, models: list[str]) -> None:
        self._failures = 0
        self._backoff.reset()
        if self.ready.is_set():
            return
        wanted = self._upstream.model
        if models and wanted not in models:
            named = ", ".join(models[:_MOST_NAMED])
            _log.warning("the model server lists %s, not %s: is --upstream-model right?", named, wanted)
        _log.info("the model server answers")
        self.ready.set()
        self._changed()

    def _failed(self, error: UpstreamFailed) -> None:
        self._failures += 1
        if not self.ready.is_set():
            _log.warning("waiting for the model server: %s", error)
        elif self._failures >= _FAILURES:
            _log.warning("the model server is away, no new orders until it is back: %s", error)
            self.ready.clear()
            self._changed()
