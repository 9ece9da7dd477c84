"""The shared book on Redis or MemoryDB.

Everything in it can be had again: asks from the nodes that hear their agents, leases from the open holds of the ledger.
So what Redis loses, even what it had acknowledged, costs a moment of doubt and no money.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random, SystemRandom

from gollem.clock import Clock
from gollem.config import ConfigError, NodesConfig
from gollem.errors import BookUnavailable
from gollem.nodes import addresses, keys
from gollem.nodes.backoff import Backoff
from gollem.nodes.claims import Claims
from gollem.nodes.endings import end
from gollem.nodes.node import Node
from gollem.nodes.partition import Partition
from gollem.nodes.redis_client import Connect, RedisClient, connect
from gollem.nodes.roll import Roll
from gollem.nodes.shared_book import Listener
from gollem.nodes.shared_time import SharedTime
from gollem.nodes.sweeper import Sweeper
from gollem.nodes.types import Change, ClaimRequest, Granted, Lease, NodeInfo, Refused, Status, Timed, nobody_times

_log = logging.getLogger(__name__)
_LAST_WORDS_S = 1.0


class RedisNodes:
    """A SharedBook. Built once a process; every partition is sent, read and judged for itself."""

    def __init__(
        self,
        config: NodesConfig,
        version: str,
        clock: Clock,
        grant_keys: tuple[str, ...] = (),
        timed: Timed = nobody_times,
        chance: Random | None = None,
        connect: Connect = connect,
        ledger: str = "",
    ) -> None:
        """`timed(operation, seconds, outcome)` hears of every call of Redis. `chance` names this run of the node, and
        spreads its waits. Raises ConfigError if the URL is none."""
        chance = chance or SystemRandom()
        address, name = addresses.parse(config.book), config.own_name()
        sizes = config.connections, config.partitions
        client = RedisClient(address, config.claim_timeout_ms, config.heartbeat_ms, *sizes, connect, timed)
        sender = f"{name}~{chance.getrandbits(32):08x}"
        self._node = Node(sender, client, SharedTime(clock), clock, config, chance)
        self._partitions = [Partition(self._node, number) for number in range(config.partitions)]
        self._claims = Claims(self._node, [partition.outage for partition in self._partitions])
        self._roll = Roll(self._node, name, version, grant_keys, ledger)
        self._sweeper = Sweeper(self._node)
        self._heart: asyncio.Task[None] | None = None
        self._obstacle: BookUnavailable | None = None
        self._is_closed = False
        self._disagrees = False

    async def start(self, listener: Listener) -> None:
        within_s = self._node.config.join_ms / 1_000
        try:
            async with asyncio.timeout(within_s):
                await self._join()
                await asyncio.gather(*(partition.start(listener) for partition in self._partitions))
        except TimeoutError as error:
            await self.close()
            why = self._obstacle or "the shared book is too slow"
            raise BookUnavailable(f"could not join the other nodes within {within_s:g} s: {why}") from error
        except GeneratorExit:  # its loop is gone, and nothing can be awaited any more
            raise
        except BaseException:
            await self.close()
            raise
        self._heart = asyncio.create_task(self._keep_beating())

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._heart is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await asyncio.gather(*(partition.publisher.wait_idle() for partition in self._partitions))
            await end([self._heart])
        for partition in self._partitions:
            await partition.close()
        with suppress(BookUnavailable):
            await self._roll.leave()
        await self._node.client.close()

    # --- changes ----------------------------------------------------------------------------------------------------

    def partition_of(self, model: str) -> int:
        return keys.partition_of(model, len(self._partitions))

    def announce(self, change: Change) -> None:
        self._partitions[self.partition_of(change.model)].publisher.add(change)

    # --- claims -----------------------------------------------------------------------------------------------------

    async def claim(self, request: ClaimRequest) -> Granted | Refused:
        return await self._claims.claim(request)

    async def release(self, lease: Lease, unless_left_ms: int | None = None) -> bool:
        return await self._claims.release(lease, unless_left_ms)

    async def renew(self, lease: Lease, lease_ms: int) -> bool:
        return await self._claims.renew(lease, lease_ms)

    async def restore(self, leases: Sequence[tuple[Lease, int]]) -> int:
        return await self._claims.restore(leases)

    # --- how nodes are ----------------------------------------------------------------------------------------------

    def status(self) -> Status:
        publishers = [partition.publisher for partition in self._partitions]
        figures = [partition.follower.figures for partition in self._partitions if partition.follower]
        return Status(
            degraded=any(partition.outage.is_on for partition in self._partitions),
            epoch=max((figure.epoch for figure in figures), default=0),
            lag_ms=max((figure.lag_ms for figure in figures), default=0),
            asks=sum(len(publisher.own) for publisher in publishers),
            granted=self._claims.granted,
            granted_alone=self._claims.granted_alone,
            refused=self._claims.refused,
            waiting=sum(publisher.waiting for publisher in publishers),
            dropped=sum(publisher.dropped for publisher in publishers),
            passed_over=sum(figure.passed_over for figure in figures),
            rebuilt=sum(figure.rebuilt for figure in figures),
        )

    async def nodes(self) -> list[NodeInfo]:
        """This node is as it is now: where it can read Redis and not write, what it told there is old."""
        status = self.status()
        try:
            known = await self._roll.read()
        except BookUnavailable:
            return [self._roll.own(status)]
        return [replace(each, degraded=status.degraded) if each.name == self._roll.name else each for each in known]

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _join(self) -> None:
        """Until it succeeds: a start may fall into a failover. Raises ConfigError."""
        backoff = Backoff(self._node.chance)
        while True:
            try:
                await self._node.client.open()
                await self._agree()
                await self._roll.beat(self.status())
                return await self._roll.require_agreement()
            except BookUnavailable as error:
                if self._obstacle is None:
                    _log.warning("cannot join the other nodes yet: %s", error)
                self._obstacle = error
                await backoff.wait()

    async def _agree(self) -> None:
        """Nodes that spread models differently would not hear each other."""
        mine = str(len(self._partitions))
        theirs = await self._node.client.agree(keys.PARTITIONS, mine)
        if theirs != mine:
            raise ConfigError(f"nodes.partitions: the other nodes have {theirs}, not {mine}")

    async def _stay_agreed(self) -> None:
        """Whoever empties Redis takes out what was agreed on, too. Raises BookUnavailable."""
        try:
            await self._agree()
            self._disagrees = False
        except ConfigError as error:
            if not self._disagrees:
                _log.error("%s: stop one or the other", error)
            self._disagrees = True

    async def _keep_beating(self) -> None:
        """For ever; what could not be done is done at the next beat."""
        while True:
            await asyncio.sleep(self._node.config.heartbeat_ms / 1_000)
            try:
                await self._roll.beat(self.status())
                await self._stay_agreed()
                await self._claims.release_waiting()
                await self._sweeper.step()
            except BookUnavailable:
                _log.debug("no heartbeat: the shared book is away")
            except Exception:
                _log.exception("a heartbeat failed; the next one comes")
