"""HTTP/2 frame by frame: what a peer may send, decided before h2 spends time or memory on it."""

from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection, _decode_headers
from h2.errors import ErrorCodes
from h2.events import Event
from h2.exceptions import DenialOfServiceError, FrameTooLargeError, ProtocolError
from h2.settings import SettingCodes, Settings
from h2.stream import StreamClosedBy
from hyperframe.frame import (
    AltSvcFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from .budget import Budget
from .limits import Limits

_FRAME_HEADER_BYTES = 9
_KNOWN_SETTINGS = frozenset(SettingCodes)
# Frames that carry nothing for a call and only make us work.
_CHATTER = {AltSvcFrame, ExtensionFrame, PingFrame, PriorityFrame, SettingsFrame, WindowUpdateFrame}
# For each frame that does: Go's clients send a PING and two WINDOW_UPDATE for what they read.
_FREE_FRAMES = 4
_FREE_FRAMES_MAX = 10_000


class GuardedH2(H2Connection):
    """The server's side of one connection. Too much of anything raises ProtocolError, with GOAWAY ready to be sent."""

    # h2 remembers how 65,536 streams ended, which is megabytes for every connection.
    MAX_CLOSED_STREAMS = 4_096

    def __init__(self, limits: Limits) -> None:
        # latin-1 decodes every byte: with ASCII one odd header of one call would end the whole connection. What a call
        # may put into its headers is checked call by call (opening.py).
        super().__init__(
            H2Configuration(
                client_side=False,
                header_encoding="latin-1",
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: limits.max_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.max_header_bytes,
                SettingCodes.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
            },
        )
        self.decoder.max_header_list_size = limits.max_header_bytes
        self._limits = limits
        self._resets = Budget(limits.resets_per_second)
        self._pings = Budget(limits.pings_per_second)
        self._paid_for = 0
        # Once we have said GOAWAY, streams above the one it named are the client's to repeat elsewhere.
        self.last_stream_id: int | None = None

    def begin(self) -> None:
        """Puts our SETTINGS and the connection's window into the outgoing data."""
        self.initiate_connection()
        increment = self._limits.connection_window_bytes - self.inbound_flow_control_window
        if increment:
            self.increment_flow_control_window(increment)

    def receive_data(self, data: Any) -> list[Event]:
        events = super().receive_data(data)
        # h2 looks at a frame's length, and at a header block, only when all of it is there: look earlier.
        buffer = self.incoming_buffer
        if len(buffer._data) > self.max_inbound_frame_size + _FRAME_HEADER_BYTES:
            self._fail(FrameTooLargeError("frame too large"))
        if sum(len(frame.data) for frame in buffer._headers_buffer) > self._limits.max_header_bytes:
            self._fail(DenialOfServiceError("header block too large"))
        return events

    def _fail(self, error: ProtocolError) -> None:
        self._terminate_connection(error.error_code)
        raise error

    def _receive_frame(self, frame: Frame) -> list[Event]:
        kind = type(frame)
        if kind is HeadersFrame:
            self.pay()
        elif kind is RstStreamFrame:
            self._spend(frame, self._resets)
        elif kind in _CHATTER or _is_empty(frame):
            if self._paid_for:
                self._paid_for -= 1
            else:
                self._spend(frame, self._pings)
        return super()._receive_frame(frame)

    def pay(self) -> None:
        """Headers came or something was sent: the frames by which clients measure and acknowledge that are free."""
        self._paid_for = min(self._paid_for + _FREE_FRAMES, _FREE_FRAMES_MAX)

    def _spend(self, frame: Frame, budget: Budget) -> None:
        if not budget.spend():
            raise DenialOfServiceError(f"too many {type(frame).__name__} a second")

    def _receive_headers_frame(self, frame: HeadersFrame) -> Any:
        if len(frame.data) > self._limits.max_header_bytes:
            raise DenialOfServiceError("header block too large")
        is_new = frame.stream_id > self.highest_inbound_stream_id and frame.stream_id % 2
        if is_new and (self.last_stream_id is not None or self.open_inbound_streams >= self._limits.max_streams):
            return self._refuse(frame)
        return super()._receive_headers_frame(frame)

    def _refuse(self, frame: HeadersFrame) -> Any:
        """One call too many is answered with REFUSED_STREAM, "not touched, may be repeated"; h2 would hang up."""
        # Decoded all the same: the headers that follow are compressed against these.
        _decode_headers(self.decoder, frame.data)
        self.highest_inbound_stream_id = frame.stream_id
        self._closed_streams[frame.stream_id] = StreamClosedBy.SEND_RST_STREAM
        reset = RstStreamFrame(frame.stream_id)
        reset.error_code = ErrorCodes.REFUSED_STREAM
        return [reset], []

    def _receive_settings_frame(self, frame: SettingsFrame) -> Any:
        # h2 keeps every setting it is told of, known or not: 65,536 of them are 50 MB.
        frame.settings = {code: value for code, value in frame.settings.items() if code in _KNOWN_SETTINGS}
        return super()._receive_settings_frame(frame)

    def _receive_goaway_frame(self, frame: Any) -> Any:
        """A client that says GOAWAY will ask for nothing more, but still wants its answers; h2 would cut them off."""
        return [], []


def _is_empty(frame: Frame) -> bool:
    return isinstance(frame, DataFrame) and not frame.data and "END_STREAM" not in frame.flags
