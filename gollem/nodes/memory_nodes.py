"""One process alone: its own book is all there is, so every claim is granted and nothing is sent."""

from collections.abc import Sequence

from gollem.clock import Clock
from gollem.nodes.shared_book import Listener
from gollem.nodes.shared_time import SharedTime
from gollem.nodes.types import Change, ClaimRequest, Granted, Lease, NodeInfo, Placed, Refused, Removed, Status


class MemoryNodes:
    """A SharedBook of one. The exchange's own book has claimed before it asks, so there is nothing to refuse."""

    def __init__(self, name: str, version: str, clock: Clock, grant_keys: tuple[str, ...] = ()) -> None:
        self._name = name
        self._version = version
        self._grant_keys = grant_keys
        self._time = SharedTime(clock)
        self._asks: set[str] = set()
        self._granted = 0

    async def start(self, listener: Listener) -> None:
        """There is nobody to hear."""

    async def close(self) -> None:
        """There is nothing to send."""

    def partition_of(self, model: str) -> int:
        return 0

    def announce(self, change: Change) -> None:
        if isinstance(change, Placed):
            self._asks.add(change.ask_key)
        elif isinstance(change, Removed):
            self._asks.discard(change.ask_key)

    async def claim(self, request: ClaimRequest) -> Granted | Refused:
        self._granted += 1
        return Granted(self._time.next_fence())

    async def release(self, lease: Lease, unless_left_ms: int | None = None) -> bool:
        return True

    async def renew(self, lease: Lease, lease_ms: int) -> bool:
        return True

    async def restore(self, leases: Sequence[tuple[Lease, int]]) -> int:
        return len(leases)

    def status(self) -> Status:
        return Status(
            degraded=False,
            epoch=0,
            lag_ms=0,
            asks=len(self._asks),
            granted=self._granted,
            granted_alone=0,
            refused=0,
            waiting=0,
            dropped=0,
            passed_over=0,
            rebuilt=0,
        )

    async def nodes(self) -> list[NodeInfo]:
        return [NodeInfo(self._name, self._version, 0, len(self._asks), 0, 0, 0, False, self._grant_keys)]
