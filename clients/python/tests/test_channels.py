"""The pool of connections."""

import asyncio
import socket

import pytest

from gollem_client import ChannelPool
from gollem_client.channels import parse_address
from gollem_client.wire import NotConnected
from tests.until import WITHIN_S


async def test_idle_channels_are_bounded_and_the_oldest_goes_first() -> None:
    pool = ChannelPool(max_idle=2)
    first, *others = [parse_address(f"127.0.0.1:{port}") for port in (1, 2, 3)]
    with pool.lease(first) as channel:
        for other in others:
            with pool.lease(other):
                pass
        assert len(pool) == 3  # the one in use does not count
    assert len(pool) == 2
    with pool.lease(first) as again:
        assert again is channel  # used last, so it stayed
    pool.close()
    assert len(pool) == 0


async def test_connecting_is_bounded() -> None:
    """A full backlog drops the SYN: the connection neither opens nor fails."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        pool = ChannelPool(connect_ms=100)
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(NotConnected), pool.lease(parse_address(f"127.0.0.1:{port}")) as channel:
                await channel.__connect__()
        pool.close()
        for filler in fillers:
            filler.close()
