"""The server: its services with health and reflection beside them, its connections, and a stop that loses nothing."""

import asyncio
import ssl as _ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

# For the descriptor pool, as error_details in faults.py: else grpcurl shows the details of errors as raw bytes.
import google.rpc.status_pb2  # noqa: F401
from grpclib.const import Handler
from grpclib.events import RecvRequest, SendTrailingMetadata, _DispatchServerEvents
from grpclib.health.check import ServiceStatus
from grpclib.health.service import OVERALL, Health
from grpclib.reflection.service import ServerReflection

from .calls import Calls
from .limits import Limits
from .link import Link
from .symbols import Symbols

_BACKLOG = 1_024
# How long calls that are cut off may take to say so, and connections to close.
_GRACE_S = 3.0
_SETTLE_MS = 100


class Service(Protocol):
    """What the generated `...Base` classes are."""

    def __mapping__(self) -> Mapping[str, Handler]: ...


@dataclass(frozen=True, slots=True)
class Statistics:
    """A picture of a server: what is open now, and what has happened since it was made."""

    connections: int
    calls: int
    calls_started: int
    # Handlers that raised something else than GRPCError.
    faults: int
    # Connections by why they ended, such as "peer", "idle", "refused", "enhance_your_calm".
    closed: Mapping[str, int]


class GuardedServer:
    """grpclib handlers behind every limit of `Limits`, with health and reflection (v1 and v1alpha).

    `on_request` sees each call before its handler, health and reflection excepted; it may raise GRPCError, and may
    wrap `event.method_func`. `on_trailers` sees the end of each call, and may add to its metadata. Handlers of endless
    streams should end when `draining` is set.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        limits: Limits | None = None,
        on_request: Callable[[RecvRequest], Awaitable[None]] | None = None,
        on_trailers: Callable[[SendTrailingMetadata], Awaitable[None]] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.draining = asyncio.Event()
        self._status = ServiceStatus()
        self._status.set(True)
        health = Health({OVERALL: [self._status], **{service: [self._status] for service in services}})
        methods: dict[str, Handler] = {}
        for service in ServerReflection.extend([*services, health], pool=Symbols()):
            methods |= service.__mapping__()
        dispatch = _DispatchServerEvents()
        if on_request:
            dispatch.add_listener(RecvRequest, _exempting_own(on_request))  # type: ignore[arg-type]
        if on_trailers:
            dispatch.add_listener(SendTrailingMetadata, on_trailers)  # type: ignore[arg-type]
        self._calls = Calls(methods, dispatch, self.limits)
        self._links: set[Link] = set()
        self._closed: Counter[str] = Counter()
        self._open_calls = self._calls_started = 0
        self._quiet = asyncio.Event()
        self._empty = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._port: int | None = None

    async def start(
        self, host: str, port: int, *, ssl: _ssl.SSLContext | None = None, reuse_port: bool = False
    ) -> None:
        """Listens; port 0 takes a free one. `ssl` is told to speak HTTP/2, without which gRPC clients hang up."""
        if self._server:
            raise RuntimeError("the server has been started before")
        if ssl:
            ssl.set_alpn_protocols(["h2"])
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Link(self, self._calls.serve),
            host,
            port,
            ssl=ssl,
            backlog=_BACKLOG,
            reuse_port=reuse_port or None,
            ssl_handshake_timeout=self.limits.handshake_timeout_ms / 1_000 if ssl else None,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    @property
    def port(self) -> int:
        """The port that is bound."""
        if self._port is None:
            raise RuntimeError("the server has not been started")
        return self._port

    @property
    def connections(self) -> int:
        return len(self._links)

    def statistics(self) -> Statistics:
        return Statistics(
            len(self._links), self._open_calls, self._calls_started, self._calls.faults, dict(self._closed)
        )

    async def drain(self, timeout_ms: int) -> int:
        """Takes no more calls, lets those under way finish, closes. Returns how many were cut off at the time-out."""
        self._status.set(False)
        self.draining.set()
        if self._server:
            self._server.close()
        for link in list(self._links):
            link.go_away()
        if self._open_calls:
            await _within(timeout_ms / 1_000, self._quiet, lambda: not self._open_calls)
        cut_off = self._open_calls
        for link in list(self._links):
            link.cut_off()
        await _within(_GRACE_S, self._quiet, lambda: not self._open_calls)
        # Some clients drop an answer that they have received and not read yet when GOAWAY follows it closely.
        await self.left(_SETTLE_MS)
        for link in list(self._links):
            link.hang_up("drained")
        await _within(_GRACE_S, self._empty, lambda: not self._links)
        return cut_off

    async def left(self, timeout_ms: int) -> None:
        """Waits until every peer has hung up, but not longer."""
        await _within(timeout_ms / 1_000, self._empty, lambda: not self._links)

    # --- for Link ---------------------------------------------------------------------------------------------------

    def admit(self, link: Link) -> bool:
        if len(self._links) >= self.limits.max_connections or self.draining.is_set():
            self._closed["refused"] += 1
            return False
        self._links.add(link)
        return True

    def closed(self, why: str) -> None:
        self._closed[why] += 1

    def leave(self, link: Link) -> None:
        self._links.discard(link)
        if not self._links:
            self._empty.set()

    def call_started(self) -> None:
        self._open_calls += 1
        self._calls_started += 1

    def call_ended(self) -> None:
        self._open_calls -= 1
        if not self._open_calls:
            self._quiet.set()


def _exempting_own(on_request: Callable[[RecvRequest], Awaitable[None]]) -> Callable[[RecvRequest], Any]:
    async def listener(event: RecvRequest) -> None:
        if not event.method_name.startswith("/grpc."):
            await on_request(event)

    return listener


async def _within(timeout_s: float, changed: asyncio.Event, done: Callable[[], bool]) -> None:
    """Waits until `done`, but not longer."""
    try:
        async with asyncio.timeout(timeout_s):
            while not done():
                changed.clear()
                await changed.wait()
    except TimeoutError:
        pass
