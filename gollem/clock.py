"""The only source of time. Whoever needs it gets a `Clock` through its constructor, so that tests own it."""

import time
from datetime import UTC, datetime
from typing import Protocol

DAY_MS = 86_400_000


class Clock(Protocol):
    """Wall time for what is stored or shown, monotonic time for whatever is measured or waited for."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC. May jump."""

    def monotonic_ms(self) -> int:
        """Milliseconds since some moment. Never runs back."""


class SystemClock:
    """The machine's own."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


def stopwatch_s() -> float:
    """Seconds since some moment, as finely as the machine tells: for how long something took. Nothing decides by it."""
    return time.perf_counter()


def utc_minute(at_ms: int) -> str:
    """A moment for people, such as 2027-01-31 16:05 UTC."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def is_utc_day(text: str) -> bool:
    """Whether it is a day as `utc_day` writes them, from 1970 on."""
    if len(text) != 8 or not (text.isascii() and text.isdigit()):
        return False
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).year >= 1970
    except ValueError:
        return False


def utc_day(at_ms: int) -> str:
    """The day of a moment, as yyyymmdd. Midnight is UTC's everywhere."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y%m%d")


def day_begins_ms(day: str) -> int:
    """The midnight before a day given as yyyymmdd. Raises ValueError for what is none."""
    return int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 1_000
