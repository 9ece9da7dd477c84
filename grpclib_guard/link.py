"""One connection: bytes in, calls started and ended, and the clock that closes what nobody uses."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, cast

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError
from hyperframe.frame import GoAwayFrame

from .frames import GuardedH2
from .limits import Limits
from .stream import GuardedConnection, GuardedStream

Headers = list[tuple[str, str]]
Serve = Callable[[GuardedStream, Headers], Coroutine[Any, Any, None]]

# One connection's share of the event loop before the others have their turn: 64 KiB of tiny frames are half a second.
_SHARE_S = 0.005
_SLICE_BYTES = 4 << 10
# What a peer may leave unread of our answers to its control frames.
_MAX_UNREAD_BYTES = 1 << 20
# How long a closed connection may take to read its last bytes, and a peer to end its side of a finished call.
_LINGER_S = 2.0
# Clients built on h2 drop the calls under way when they are told GOAWAY. They name themselves.
_H2_CLIENT = "grpc-python-grpclib/"


class Owner(Protocol):
    """The server, as its connections see it."""

    limits: Limits

    def admit(self, link: "Link") -> bool: ...
    def leave(self, link: "Link") -> None: ...
    def closed(self, why: str) -> None: ...
    def call_started(self) -> None: ...
    def call_ended(self) -> None: ...


class Link(asyncio.Protocol):
    """One peer's connection, from its first byte to its last."""

    def __init__(self, owner: Owner, serve: Serve) -> None:
        self._owner = owner
        self._serve = serve
        self._limits = owner.limits
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, tuple[GuardedStream, asyncio.Task[None]]] = {}
        self._waiting = b""
        self._admitted = self._closing = False
        self._greeted = self._pinged = self._window_opened = False
        self._is_h2_client = False
        # Loop times: of the last byte, of the last call's end, and since when the peer does not read.
        self._heard_at = self._used_at = self._loop.time()
        self._blocked_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- bytes ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._admitted = self._owner.admit(self)
        if not self._admitted:
            # Without a word, so that clients count it as a failed connect and back off.
            self._closing = True
            self._transport.abort()
            return
        self._h2 = GuardedH2(self._limits)
        self._h2.begin()
        self._connection = GuardedConnection(self._h2, self._transport)
        self._connection.flush()
        self._look()

    def data_received(self, data: bytes) -> None:
        if self._waiting:
            self._waiting += data
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Processes what fits into this connection's share, and leaves the rest for the next round of the loop."""
        ends_at = self._loop.time() + _SHARE_S
        done = 0
        while done < len(data) and not self._closing:
            self._process(data[done : done + _SLICE_BYTES])
            done += _SLICE_BYTES
            if self._loop.time() > ends_at:
                break
        had_more, self._waiting = bool(self._waiting), data[done:]
        if self._closing:
            return
        if self._waiting:
            self._transport.pause_reading()
            self._loop.call_soon(lambda: self._take(self._waiting))
        elif had_more:
            self._transport.resume_reading()

    def _process(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        self._pinged = False
        try:
            events = self._connection.feed(data)
        except ProtocolError as error:
            # h2 has put a GOAWAY with the reason into its outgoing data.
            self._connection.flush()
            self.hang_up(ErrorCodes(error.error_code).name.lower(), goaway=None)
            return
        for event in events:
            if act := _ACTS.get(type(event)):
                act(self, event)
        if self._window_opened:
            self._window_opened = False
            for stream, _ in self._calls.values():
                stream.window_updated.set()
        self._connection.flush()
        if self._transport.get_write_buffer_size() > _MAX_UNREAD_BYTES:
            self._abort("unread")

    def pause_writing(self) -> None:
        self._connection.pause_writing()
        self._blocked_at = self._loop.time()

    def resume_writing(self) -> None:
        self._connection.resume_writing()
        self._blocked_at = None

    # --- calls ------------------------------------------------------------------------------------------------------

    def _on_request(self, event: RequestReceived) -> None:
        stream_id, headers = event.stream_id, cast(Headers, event.headers)
        if len(self._calls) >= self._limits.max_streams:
            # Fewer streams are open, but handlers of cancelled ones have not finished yet.
            with suppress(StreamClosedError):
                self._h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        first = dict(headers)
        self._is_h2_client = first.get("user-agent", "").startswith(_H2_CLIENT)
        is_own = first.get(":path", "").startswith("/grpc.")
        stream = GuardedStream(self._connection, stream_id, self._limits, is_own)
        task = self._loop.create_task(self._serve(stream, headers))
        self._calls[stream_id] = stream, task
        if not is_own:
            self._owner.call_started()
        # Not at the end of the handler: one that is cancelled before its first step never gets there.
        task.add_done_callback(partial(self._release, stream))

    def _release(self, stream: GuardedStream, task: asyncio.Task[None]) -> None:
        del self._calls[stream.id]
        self._used_at = self._loop.time()
        stream.inbox.discard()
        if stream.closable:
            # The peer has not ended its side. Clients in the midst of reading our answer would take a reset for a
            # failure, so they get a moment.
            self._loop.call_later(_LINGER_S, _reset, stream)
        if not stream.is_own:
            self._owner.call_ended()

    def _on_data(self, event: DataReceived) -> None:
        if call := self._calls.get(event.stream_id):
            call[0].inbox.add(event.data, event.flow_controlled_length)
        else:
            self._connection.ack(event.stream_id, event.flow_controlled_length)

    def _on_end(self, event: StreamEnded) -> None:
        if call := self._calls.get(event.stream_id):
            call[0].inbox.eof()

    def _on_reset(self, event: StreamReset) -> None:
        if call := self._calls.get(event.stream_id):
            call[1].cancel()

    def _on_window(self, event: WindowUpdated) -> None:
        if event.stream_id == 0:
            self._window_opened = True
        elif call := self._calls.get(event.stream_id):
            call[0].window_updated.set()

    def _on_settings(self, event: RemoteSettingsChanged) -> None:
        self._greeted = self._window_opened = True

    # --- the end ----------------------------------------------------------------------------------------------------

    def go_away(self) -> None:
        """Asks the client to call elsewhere; calls under way go on."""
        if self._closing:
            return
        if self._is_h2_client and self._calls:
            self._connection.refusing = True
            return
        self._h2.last_stream_id = self._h2.highest_inbound_stream_id
        self._send_goaway(ErrorCodes.NO_ERROR)

    def _send_goaway(self, code: ErrorCodes) -> None:
        # Not h2's close_connection(), after which h2 sends nothing more for the calls under way.
        frame = GoAwayFrame(0, last_stream_id=self._h2.highest_inbound_stream_id, error_code=code)
        self._transport.write(frame.serialize())

    def cut_off(self) -> None:
        """Ends every call with UNAVAILABLE. Watchers of health have been told, and go with the connection."""
        self._connection.stopping = True
        for stream, task in self._calls.values():
            if not stream.is_own:
                task.cancel()

    def hang_up(self, why: str, goaway: ErrorCodes | None = ErrorCodes.NO_ERROR) -> None:
        """Closes the connection, whether or not the peer reads what is left for it."""
        if self._closing:
            return
        if goaway is not None:
            self._send_goaway(goaway)
        self._begin_close(why)
        self._transport.close()
        self._loop.call_later(_LINGER_S, self._transport.abort)

    def _abort(self, why: str) -> None:
        if not self._closing:
            self._begin_close(why)
            self._transport.abort()

    def _begin_close(self, why: str) -> None:
        self._closing = True
        self._owner.closed(why)
        for _, task in self._calls.values():
            task.cancel()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        if self._admitted:
            if not self._closing:
                self._begin_close("peer")
            self._connection.close()
            self._owner.leave(self)

    # --- the clock --------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Does what is due, and comes again when the next thing may be."""
        now = self._loop.time()
        due, act = self._due()
        if now >= due:
            act()
        if not self._closing:
            again_ms = min(self._limits.idle_timeout_ms, self._limits.keepalive_ms, self._limits.stall_timeout_ms)
            at = now + again_ms / 1_000
            self._timer = self._loop.call_at(max(now + 0.001, min(at, self._due()[0])), self._look)

    def _due(self) -> tuple[float, Callable[[], None]]:
        limits = self._limits
        if self._blocked_at is not None:
            return self._blocked_at + limits.stall_timeout_ms / 1_000, partial(self._abort, "unread")
        if not self._greeted:
            return self._used_at + limits.handshake_timeout_ms / 1_000, partial(self.hang_up, "no_handshake")
        if not self._calls:
            return self._used_at + limits.idle_timeout_ms / 1_000, partial(self.hang_up, "idle")
        keepalive_s = limits.keepalive_ms / 1_000
        if self._pinged:
            return self._heard_at + 2 * keepalive_s, partial(self._abort, "dead")
        return self._heard_at + keepalive_s, self._ping

    def _ping(self) -> None:
        self._pinged = True
        self._h2.ping(b"alive?  ")
        self._connection.flush()


def _reset(stream: GuardedStream) -> None:
    if stream.closable:
        stream.reset_nowait()


_ACTS: dict[type[Event], Callable[[Link, Any], None]] = {
    RequestReceived: Link._on_request,
    DataReceived: Link._on_data,
    StreamEnded: Link._on_end,
    StreamReset: Link._on_reset,
    WindowUpdated: Link._on_window,
    RemoteSettingsChanged: Link._on_settings,
}
