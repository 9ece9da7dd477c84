"""Channels to providers' endpoints."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from grpclib.client import Channel


@asynccontextmanager
async def open_channel(endpoint: str) -> AsyncIterator[Channel]:
    """A channel to host:port, or over TLS to https://host[:port]; closed on the way out."""
    secure = endpoint.startswith("https://")
    host, _, port = endpoint.removeprefix("https://").rpartition(":")
    if not host or endpoint.endswith("]"):
        host, port = endpoint.removeprefix("https://"), "443"
    context = _tls() if secure else None
    channel = Channel(host.strip("[]"), int(port), ssl=context)
    try:
        yield channel
    finally:
        channel.close()


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    return context
