"""The guard leans on private names of grpclib and h2: it is tested with these versions, and no others may come in."""

import inspect
from importlib.metadata import version

import grpclib.server
import h2.connection
from grpclib.events import _DispatchServerEvents
from grpclib.protocol import Connection, Stream
from h2.config import H2Configuration
from h2.frame_buffer import FrameBuffer


def test_versions() -> None:
    assert version("grpclib") == "0.4.9"
    assert version("h2").startswith("4.4.")


def test_grpclib_has_what_is_leant_on() -> None:
    assert list(inspect.signature(Connection.__init__).parameters) == ["self", "connection", "transport", "config"]
    for name in ("feed", "ack", "flush", "pause_writing", "resume_writing", "is_closing", "close"):
        assert callable(getattr(Connection, name))
    for name in ("headers_send_process", "data_send_process"):
        assert name in inspect.getsource(Stream)
    for name in ("_h2_connection", "_transport", "window_updated"):
        assert f"self.{name}" in inspect.getsource(Stream.__init__)
    for name in ("send_data", "send_headers", "reset_nowait", "closable"):
        assert hasattr(Stream, name)
    assert callable(_DispatchServerEvents().recv_request)
    call = grpclib.server.Stream
    assert call._messages_received == 0
    assert call._send_message_done is False
    for name in ("_stream", "_cardinality", "_recv_type", "_codec"):
        assert f"self.{name}" in inspect.getsource(call.__init__)


def test_h2_has_what_is_leant_on() -> None:
    connection = h2.connection.H2Connection(H2Configuration(client_side=False))
    overridden = ("_receive_frame", "_receive_headers_frame", "_receive_settings_frame", "_receive_goaway_frame")
    for name in (*overridden, "_terminate_connection"):
        assert callable(getattr(connection, name))
    for name in overridden[1:]:
        assert f"self.{name}" in inspect.getsource(h2.connection.H2Connection.__init__)
    assert connection._closed_streams == {}
    assert "self.MAX_CLOSED_STREAMS" in inspect.getsource(h2.connection.H2Connection.__init__)
    assert callable(h2.connection._decode_headers)
    buffer = FrameBuffer(server=True)
    assert buffer._data == b""
    assert buffer._headers_buffer == []
