"""Whether the ledger answers this server at all: one that does not would let it take room that it cannot sell."""

from collections.abc import Iterator
from contextlib import contextmanager

from gollem.clock import Clock
from gollem.errors import LedgerUnavailable, WorldError

SILENT_MS = 1_000


class Silence:
    """Of calls under way together. One that takes long beside others that are answered is no silence."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way = 0
        self._heard_ms = 0  # the last answer, or when the first of those under way was asked

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While a call of the ledger is under way. A refusal is an answer; that there was none is no answer."""
        if not self._under_way:
            self._heard_ms = self._clock.monotonic_ms()
        self._under_way += 1
        heard = True
        try:
            yield
        except WorldError:
            heard = False
            raise
        finally:
            self._under_way -= 1
            if heard:
                self._heard_ms = self._clock.monotonic_ms()

    def check(self) -> None:
        """Raises LedgerUnavailable while calls have been under way for SILENT_MS, and none was answered."""
        if self._under_way and self._clock.monotonic_ms() - self._heard_ms >= SILENT_MS:
            raise LedgerUnavailable("the ledger does not answer this server: try another, or again in a moment")
