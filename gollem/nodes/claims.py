"""Leases on capacity: asked of Redis while it answers, decided by this node alone for a while when it does not."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import Any

from gollem.errors import BookUnavailable
from gollem.nodes.backoff import Backoff
from gollem.nodes.keys import PartitionKeys, partition_of
from gollem.nodes.node import Node
from gollem.nodes.outage import Outage
from gollem.nodes.types import ClaimRequest, Granted, Lease, Refused

_KEPT_AT_ONCE = 256
_CALLS_AT_ONCE = 16


class Claims:
    """`outages` by partition. Whatever is asked may be asked again: a lost answer is had by the same question."""

    def __init__(self, node: Node, outages: Sequence[Outage]) -> None:
        self._node = node
        self._outages = outages
        self._to_release: OrderedDict[tuple[str, str], tuple[Lease, int | None]] = OrderedDict()
        self.granted = 0
        self.granted_alone = 0
        self.refused = 0

    async def claim(self, request: ClaimRequest) -> Granted | Refused:
        """Never raises."""
        waiting = self._to_release.pop((request.order_id, request.ask_key), None)  # it would be this order's own room
        outage = self._outages[self._partition(request.model)]
        answer = await self._asked(request, outage) or self._decided_alone(outage)
        if waiting and answer.degraded:  # Redis has it still
            self._release_later(*waiting)
        if isinstance(answer, Refused):
            self.refused += 1
        else:
            self.granted += 1
            self.granted_alone += answer.degraded
        return answer

    async def release(self, lease: Lease, unless_left_ms: int | None = None) -> bool:
        """Never raises: what cannot be released now is released by `release_waiting`, or runs out."""
        if self._outages[self._partition(lease.model)].is_on:
            self._release_later(lease, unless_left_ms)
            return True
        try:
            return await self._release(lease, unless_left_ms)
        except BookUnavailable:
            self._release_later(lease, unless_left_ms)
            return True

    async def renew(self, lease: Lease, lease_ms: int) -> bool:
        """Raises BookUnavailable."""
        return await self.restore([(lease, lease_ms)]) == 1

    async def restore(self, leases: Sequence[tuple[Lease, int]]) -> int:
        """Raises BookUnavailable; what was restored before that stays."""
        by_ask: dict[str, list[tuple[Lease, int]]] = defaultdict(list)
        for lease, lease_ms in leases:
            self._to_release.pop((lease.order_id, lease.ask_key), None)
            by_ask[lease.ask_key].append((lease, lease_ms))
        gate = asyncio.Semaphore(_CALLS_AT_ONCE)

        async def keep(some: Sequence[tuple[Lease, int]]) -> int:
            async with gate:
                return await self._keep(some)

        pages = [
            of_ask[i : i + _KEPT_AT_ONCE] for of_ask in by_ask.values() for i in range(0, len(of_ask), _KEPT_AT_ONCE)
        ]
        return sum(await asyncio.gather(*map(keep, pages)))

    async def release_waiting(self) -> None:
        """Once Redis answers again. Raises BookUnavailable."""
        while self._to_release:
            key, waiting = next(iter(self._to_release.items()))
            await self._release(*waiting)
            self._to_release.pop(key, None)

    async def _release(self, lease: Lease, unless_left_ms: int | None) -> bool:
        most_left = "" if unless_left_ms is None else unless_left_ms
        return bool(await self._call("release", lease, lease.order_id, lease.fence, most_left))

    async def _asked(self, request: ClaimRequest, outage: Outage) -> Granted | Refused | None:
        """None if there is no answer to be had."""
        if not outage.may_try(self._node.clock.monotonic_ms()):
            return None
        figures = (request.tokens, request.lease_ms, request.capacity_tokens, request.capacity_slots)
        try:
            granted, *rest = await self._call("claim", request, request.order_id, *figures)
        except BookUnavailable:
            outage.failed(self._node.clock.monotonic_ms())
            return None
        outage.succeeded()
        if not granted:
            return Refused(*rest)
        self._node.time.granted(rest[0])
        return Granted(rest[0])

    def _decided_alone(self, outage: Outage) -> Granted | Refused:
        if outage.is_too_long(self._node.clock.monotonic_ms()):
            return Refused(0, 0, degraded=True)
        return Granted(self._node.time.next_fence(), degraded=True)

    async def _keep(self, leases: Sequence[tuple[Lease, int]]) -> int:
        """Leases on one ask."""
        arguments = [
            part for lease, lease_ms in leases for part in (lease.order_id, lease.tokens, lease.fence, lease_ms)
        ]
        return int(await self._call("keep", leases[0][0], *arguments))

    async def _call(self, function: str, about: ClaimRequest | Lease, *arguments: str | int) -> Any:
        """Twice, if the first failure came so soon that there is time."""
        keys = PartitionKeys(self._partition(about.model)).leases(about.ask_key)
        clock, client = self._node.clock, self._node.client
        began_ms = clock.monotonic_ms()
        try:
            return await client.call(function, keys, arguments)
        except BookUnavailable:
            if clock.monotonic_ms() - began_ms > self._node.config.claim_timeout_ms // 2:
                raise
        await Backoff(self._node.chance).wait()
        return await client.call(function, keys, arguments)

    def _release_later(self, lease: Lease, unless_left_ms: int | None) -> None:
        """An order has one lease in Redis: where one waits, another fence is of a claim that was decided alone."""
        waiting = self._to_release.setdefault((lease.order_id, lease.ask_key), (lease, unless_left_ms))
        if waiting[0] == lease:
            self._to_release[lease.order_id, lease.ask_key] = lease, unless_left_ms
        if len(self._to_release) > self._node.config.max_events:
            self._to_release.popitem(last=False)

    def _partition(self, model: str) -> int:
        return partition_of(model, self._node.config.partitions)
