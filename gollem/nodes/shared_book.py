"""The promise of a shared book: what any node may tell the others, ask of them, and will hear from them."""

from collections.abc import Sequence, Set
from typing import Protocol

from gollem.nodes.types import Change, ClaimRequest, Granted, Lease, NodeInfo, Refused, Status


class Listener(Protocol):
    """Who keeps this node's book. Synchronous: each call is taken in before the next comes."""

    def apply(self, changes: Sequence[Change]) -> None:
        """What other nodes announced: one call for all that came together. The same may come twice, and something
        older after something newer of the same ask, as long as the newest comes last. What does not fit (a `Heard` of
        an unknown ask, a model that this catalogue has not) is to be passed over."""

    def retain(self, partition: int, ask_keys: Set[str]) -> None:
        """Changes were missed, and what is there was read anew: asks of other nodes in this partition that are not
        among these have gone."""

    def restore(self, partition: int) -> None:
        """Leases on asks of this partition may have been lost: hand those of open orders to `SharedBook.restore`."""


class SharedBook(Protocol):
    """Asks and claims, shared by all nodes. Holds nothing that cannot be had again from agents and the ledger."""

    async def start(self, listener: Listener) -> None:
        """Join, and return once what others announced before has been applied.

        Raises BookUnavailable if that does not succeed in time, and ConfigError if the nodes do not agree."""

    async def close(self) -> None:
        """Send what waits, for a moment, and leave. Idempotent."""

    def partition_of(self, model: str) -> int:
        """Where changes of this model's asks travel."""

    def announce(self, change: Change) -> None:
        """Tell the other nodes, in a moment. Of one ask only the newest state is sent; what is announced of an ask
        makes it this node's own, until another node places it or it is removed. Own asks are announced again by
        themselves when the shared book has lost them. Bounded: the oldest events are dropped, and counted."""

    async def claim(self, request: ClaimRequest) -> Granted | Refused:
        """Capacity for an order, for `lease_ms` or until it is released. The same order gets the same answer again.
        Never raises: while the shared book is away it is granted by this node alone, after `degraded_ms` refused."""

    async def release(self, lease: Lease, unless_left_ms: int | None = None) -> bool:
        """Give the capacity back; soon, if the shared book is away. False if the order holds it under another fence, or
        for longer than `unless_left_ms` from now: then nothing has changed. Idempotent."""

    async def renew(self, lease: Lease, lease_ms: int) -> bool:
        """Hold it for `lease_ms` from now at least, also if it had run out, even beyond the ask's capacity: an order
        that is committed, or is being. False if the order holds it under a higher fence. Idempotent.

        Raises BookUnavailable."""

    async def restore(self, leases: Sequence[tuple[Lease, int]]) -> int:
        """`renew` of many, each with its own `lease_ms`. Returns how many hold. Raises BookUnavailable."""

    def status(self) -> Status:
        """This node."""

    async def nodes(self) -> list[NodeInfo]:
        """All nodes that were there lately, by name; this one alone, degraded, while the shared book is away."""
