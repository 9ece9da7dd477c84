"""Clocks that move when told."""

from gollem.clock import SystemClock


class FakeClock:
    """Both times move together; `jump_ms` moves the wall clock alone, as an operator or NTP would."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._wall_ms = start_ms
        self._monotonic_ms = 1_000_000

    def now_ms(self) -> int:
        return self._wall_ms

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def advance_ms(self, by_ms: int) -> None:
        self._wall_ms += by_ms
        self._monotonic_ms += by_ms

    def jump_ms(self, by_ms: int) -> None:
        self._wall_ms += by_ms


class JumpingClock(SystemClock):
    """The machine's own, whose wall clock a test puts forward: what is waited for in days comes at once."""

    def __init__(self) -> None:
        self._ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self._ahead_ms

    def jump_ms(self, by_ms: int) -> None:
        self._ahead_ms += by_ms
