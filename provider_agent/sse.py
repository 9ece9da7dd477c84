"""Server-sent events, as far as OpenAI-compatible servers use them: the data of each event. Pure."""

_MAX_EVENT_BYTES = 1 << 20


class EventTooLong(ValueError):
    """The server sends without ever ending an event."""


class SseParser:
    """Feed it bytes as they come, however they are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[str]:
        """The data of every event that is complete now. Raises EventTooLong, UnicodeDecodeError."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        events = [event for line in lines if (event := self._line(line.rstrip(b"\r").decode())) is not None]
        if len(self._rest) + sum(map(len, self._data)) > _MAX_EVENT_BYTES:
            raise EventTooLong(f"an event of more than {_MAX_EVENT_BYTES} bytes")
        return events

    def _line(self, line: str) -> str | None:
        """An empty line ends an event; comments and other fields are passed over."""
        if line.startswith("data:"):
            self._data.append(line.removeprefix("data:").removeprefix(" "))
        if line or not self._data:
            return None
        event = "\n".join(self._data)
        self._data.clear()
        return event
