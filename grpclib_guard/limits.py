"""Every limit of a server, its range beside the field."""

from dataclasses import dataclass, field, fields
from typing import Any


def _number(default: int, least: int, most: int) -> Any:
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server, one connection and one call may take. Raises ValueError for a value out of its range."""

    # One server.
    max_connections: int = _number(10_000, 1, 1_000_000)
    # One connection: calls at once, calls cancelled a second, and frames a second that only make us work (PING,
    # SETTINGS and the like, beyond the few that belong to each call).
    max_streams: int = _number(1_000, 1, 100_000)
    resets_per_second: int = _number(200, 1, 1_000_000)
    pings_per_second: int = _number(20, 10, 1_000_000)
    # Bytes that may be on their way or waiting for a handler. Messages larger than half a stream's window are let in
    # piece by piece, and all of them on one connection together may be as large as the connection's window.
    connection_window_bytes: int = _number(64 << 20, 1 << 16, (1 << 31) - 1)
    stream_window_bytes: int = _number(1 << 20, 1 << 16, (1 << 31) - 1)
    # The preface and SETTINGS (and TLS) must have come by then.
    handshake_timeout_ms: int = _number(10_000, 10, 600_000)
    # A connection without calls is closed after this.
    idle_timeout_ms: int = _number(300_000, 10, 86_400_000)
    # A connection with calls that has been silent for this is sent a PING, and is closed after as long again.
    keepalive_ms: int = _number(60_000, 10, 86_400_000)
    # One call: bytes of headers, counted as HTTP/2 counts them, and of one message received.
    max_header_bytes: int = _number(16 << 10, 1 << 10, 1 << 20)
    max_message_bytes: int = _number(4 << 20, 1 << 10, 64 << 20)
    # How long the first message, the rest of a begun one, or a peer that does not read may keep a call waiting.
    stall_timeout_ms: int = _number(60_000, 10, 86_400_000)

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, least, most = getattr(self, limit.name), limit.metadata["least"], limit.metadata["most"]
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{limit.name}: must be a whole number from {least} to {most}, not {value!r}")
        if self.connection_window_bytes < max(self.stream_window_bytes, self.max_message_bytes):
            raise ValueError("connection_window_bytes: must not be below stream_window_bytes or max_message_bytes")
