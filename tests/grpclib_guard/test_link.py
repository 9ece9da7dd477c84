"""What takes too long over a real socket: a peer that reads nothing at all."""

import asyncio
from collections import Counter
from typing import Any

from hyperframe.frame import PingFrame, SettingsFrame

from grpclib_guard import Limits
from grpclib_guard.link import Link

from .raw import PREFACE


class BlockedTransport(asyncio.Transport):
    """Takes everything and passes nothing on."""

    def __init__(self) -> None:
        super().__init__()
        self.held = bytearray()
        self.aborted = False

    def write(self, data: Any) -> None:
        self.held += data

    def get_write_buffer_size(self) -> int:
        return len(self.held)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    close = abort

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Owner:
    """Admits everybody, and counts."""

    limits = Limits(pings_per_second=1_000_000)

    def __init__(self) -> None:
        self.why: Counter[str] = Counter()

    def admit(self, link: Link) -> bool:
        return True

    def leave(self, link: Link) -> None: ...

    def closed(self, why: str) -> None:
        self.why[why] += 1

    def call_started(self) -> None: ...

    def call_ended(self) -> None: ...


async def test_answers_to_pings_that_nobody_reads_do_not_pile_up() -> None:
    owner, transport = Owner(), BlockedTransport()
    link = Link(owner, lambda stream, headers: asyncio.sleep(0))
    link.connection_made(transport)
    link.data_received(PREFACE + SettingsFrame(0).serialize())
    assert not transport.aborted
    transport.held += bytes(1 << 20)
    pings = PingFrame(0, b"12345678").serialize() * 3
    link.data_received(pings)
    assert transport.aborted
    assert owner.why == {"unread": 1}
    link.connection_lost(None)
