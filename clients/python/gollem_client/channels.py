"""Connections by endpoint: shared while in use, a bounded number kept when idle, every connection attempt bounded."""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.protocol import H2Protocol

from gollem_client.errors import invalid
from gollem_client.wire import NotConnected

# A stream that is not read must not stop its neighbours, so a connection's window is many times a stream's. A silent
# peer is found by a ping while calls are open.
_CONFIG = Configuration(
    http2_connection_window_size=64 << 20,
    http2_stream_window_size=1 << 20,
    _keepalive_time=20.0,
    _keepalive_timeout=10.0,
    _http2_max_pings_without_data=0,
    _http2_min_sent_ping_interval_without_data=15.0,
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int
    tls: bool


def parse_address(text: str, field: str = "address") -> Address:
    """host:port, or https://host[:port] for TLS. Raises InvalidField."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    tls = parts.scheme == "https"
    try:
        port = parts.port or (443 if tls else None)
    except ValueError:
        port = None
    whole = parts.path in ("", "/") and not parts.query and not parts.fragment and parts.username is None
    if parts.scheme not in ("http", "https") or not parts.hostname or port is None or not whole:
        raise invalid(field, f"must be host:port, or https://host[:port] for TLS, not {text!r}")
    return Address(parts.hostname, port, tls)


class BoundedChannel(Channel):
    """A channel that gives up connecting: grpclib's own waits for as long as the peer likes."""

    def __init__(self, address: Address, connect_ms: int) -> None:
        super().__init__(address.host, address.port, ssl=address.tls or None, config=_CONFIG)
        self._connect_ms = connect_ms

    async def _create_connection(self) -> H2Protocol:
        try:
            async with asyncio.timeout(self._connect_ms / 1_000):
                return await super()._create_connection()
        except TimeoutError:
            raise NotConnected(f"no connection within {self._connect_ms} ms") from None
        except socket.gaierror as error:
            raise NotConnected("its host name cannot be resolved") from error
        except OSError as error:
            raise NotConnected(str(error)) from error


class _Shared:
    """A channel and how many use it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.users = 0


class ChannelPool:
    """Channels by address. At most `max_idle` are kept that nobody uses; the one idle longest goes first."""

    def __init__(self, connect_ms: int = 5_000, max_idle: int = 64) -> None:
        self._connect_ms = connect_ms
        self._max_idle = max_idle
        self._shared: OrderedDict[Address, _Shared] = OrderedDict()

    @contextmanager
    def lease(self, address: Address) -> Iterator[Channel]:
        """The channel to `address`, kept open at least until the block ends."""
        shared = self._shared.get(address)
        if shared is None:
            shared = self._shared[address] = _Shared(BoundedChannel(address, self._connect_ms))
        shared.users += 1
        try:
            yield shared.channel
        finally:
            shared.users -= 1
            if address in self._shared:
                self._shared.move_to_end(address)
            self._evict()

    def _evict(self) -> None:
        idle = [address for address, shared in self._shared.items() if not shared.users]
        for address in idle[: max(0, len(idle) - self._max_idle)]:
            self._shared.pop(address).channel.close()

    def __len__(self) -> int:
        return len(self._shared)

    def close(self) -> None:
        """Close every channel, calls under way included."""
        while self._shared:
            self._shared.popitem()[1].channel.close()
