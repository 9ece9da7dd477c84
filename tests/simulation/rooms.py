"""Whose the room of each ask is: every grant is held against what Redis has, and every open order against its grant.

The bound: of an ask's open orders, those whose lease Redis has held without a break since it granted it are never more
than the ask has room for. Each one beyond needs a reason that is known here: it was granted alone by a node that could
not ask Redis, lost by Redis, or its lease ran out or was given back before its hold was written.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gollem.ledger import Hold
from gollem.market import Ask
from gollem.nodes import ClaimRequest, Granted, Refused
from gollem.nodes.keys import PartitionKeys, partition_of
from tests.simulation.redis.link import Link
from tests.simulation.redis.server import Server
from tests.simulation.world import World

ALONE, LOST, FAILED_OVER, RESTORED = "granted alone", "lost", "lost at a failover", "restored"
RAN_OUT, RELEASED = "ran out", "released"
# Of a node's outage it learns within a beat and a call; then it may decide alone for so long.
_NOTICED_S = 1.5
_RESTORED_S = 4.0
_RENEWED_S = 0.6


class Held(NamedTuple):
    """One order's lease, as Redis has it."""

    fence: int
    tokens: int
    due_ms: int


@dataclass(frozen=True)
class Promise:
    """What Redis granted, or a node alone."""

    order_id: str
    fence: int


class Rooms:
    """Looks on at the server. `partitions` and `degraded_s` are the nodes'."""

    def __init__(self, world: World, server: Server, partitions: int, degraded_s: float) -> None:
        self._world = world
        self._server = server
        self._partitions = partitions
        self._degraded_s = degraded_s
        self._keys: dict[str, tuple[str, str]] = {}
        self._room: dict[str, tuple[int, int]] = {}
        self._held: dict[str, dict[str, Held]] = defaultdict(dict)
        self._unbroken: dict[str, dict[str, int]] = defaultdict(dict)
        self._last_fence: dict[str, int] = defaultdict(int)
        self._broken: dict[Promise, str] = {}
        self._kept: set[Promise] = set()
        self._seen_s: dict[Promise, float] = {}
        self._published: set[tuple[str, str]] = set()
        self._top: dict[str, str] = {}
        self._ask_of: dict[str, str] = {}
        self.lost_s = float("-inf")
        server.witness = self

    def sells(self, ask: Ask) -> None:
        """An agent has so much room, for good."""
        self._room[ask.key] = ask.capacity_tokens, ask.capacity_slots
        self._keys[ask.key] = PartitionKeys(partition_of(ask.model, self._partitions)).leases(ask.key)

    # --- what Redis does --------------------------------------------------------------------------------------------

    def called(self, function: str, keys: Sequence[str], arguments: Sequence[str], reply: Any) -> None:
        if function == "publish":
            self._published_once(keys, arguments)
            return
        ask_key = keys[0].partition("leases:")[2]
        if ask_key in self._room:
            before, now = self._live(self._held[ask_key]), self._read(ask_key)
            if function == "claim":
                self._claimed(ask_key, arguments, reply, before, now)
            self._held[ask_key] = now
            self._last_fence[ask_key] = max([self._last_fence[ask_key], *(held.fence for held in now.values())])
            self._find_breaks(ask_key, RELEASED if function == "release" else RAN_OUT)
            if function == "keep":
                self._kept.update(
                    Promise(*each) for each in zip(arguments[::4], map(int, arguments[2::4]), strict=True)
                )
                for order_id, held in now.items():
                    promise = Promise(order_id, held.fence)
                    if self._broken.get(promise) == LOST:
                        self._broken[promise] = RESTORED

    def lost(self, how: str) -> None:
        self.lost_s = self._world.loop.time()
        self._published.clear()
        for ask_key in self._room:
            self._held[ask_key] = self._read(ask_key)
            # That a failover lost something only a node can tell that was there before, and it may have ended since.
            self._find_breaks(ask_key, FAILED_OVER if how == "failover" else LOST)

    def _claimed(
        self, ask_key: str, arguments: Sequence[str], reply: Any, before: dict[str, Held], now: dict[str, Held]
    ) -> None:
        granted, *rest = reply
        order_id, (tokens, slots) = arguments[0], self._room[ask_key]
        used = sum(held.tokens for held in now.values())
        if not granted:
            free = [max(tokens - used, 0), max(slots - len(now), 0)]
            self._expect(rest == free, order_id, "was refused", ask_key, "with", rest, "free, there is", free)
        elif order_id in before:
            self._expect(rest == [before[order_id].fence], order_id, "has", before[order_id], "and was told", rest)
        else:
            self._expect(used <= tokens and len(now) <= slots, ask_key, "is oversold:", now)
            self._expect(rest[0] > self._last_fence[ask_key], ask_key, "gave a fence", rest, "again, to", order_id)
            self._unbroken[ask_key][order_id] = rest[0]

    def _find_breaks(self, ask_key: str, why: str) -> None:
        now, unbroken = self._held[ask_key], self._unbroken[ask_key]
        for order_id, fence in list(unbroken.items()):
            if order_id not in now or now[order_id].fence != fence:
                del unbroken[order_id]
                self._broken[Promise(order_id, fence)] = why

    def _published_once(self, keys: Sequence[str], arguments: Sequence[str]) -> None:
        """A batch, by its sender and number, is one entry of the stream."""
        stream, batch = keys[3], (keys[4], arguments[0])
        entries = self._server.data.values.get(stream) or [("", {})]
        top, self._top[stream] = self._top.get(stream), entries[-1][0]
        self._expect(batch not in self._published or self._top[stream] == top, batch, "was published twice")
        self._published.add(batch)

    # --- what nodes do ----------------------------------------------------------------------------------------------

    def answered(self, link: Link, request: ClaimRequest, answer: Granted | Refused) -> None:
        """A node has its answer, by Redis's word or its own."""
        now_s = self._world.loop.time()
        if isinstance(answer, Granted) and answer.degraded:
            self._broken[Promise(request.order_id, answer.fence)] = ALONE
            for since_s, what in ((link.troubled_s, "reaches Redis"), (link.cut_s, "is cut off for long")):
                self._expect(
                    now_s - since_s <= self._degraded_s + _NOTICED_S, link.name, what, "and decides alone", request
                )

    # --- at any moment ----------------------------------------------------------------------------------------------

    def look(self, holds: Sequence[Hold], keeper: Callable[[str], Link | None]) -> None:
        """Every open order has its lease, or a reason why not. `keeper` is the link of the node that wrote its hold, if
        that is still there and by its clock there is time left."""
        taken: dict[str, list[Held]] = defaultdict(list)
        for hold in holds:
            if hold.fence:
                ask_key = self._ask_key(hold)
                held = self._held[ask_key].get(hold.order_id)
                promise = Promise(hold.order_id, hold.fence)
                self._look_at_renewal(promise, keeper)
                if self._unbroken[ask_key].get(hold.order_id) == hold.fence and held:
                    taken[ask_key].append(held)
                else:
                    self._expect(promise in self._broken, hold.order_id, "was sold without a lease:", hold)
        for ask_key, held_by in taken.items():
            tokens, slots = self._room[ask_key]
            is_within = sum(held.tokens for held in held_by) <= tokens and len(held_by) <= slots
            self._expect(is_within, ask_key, "is oversold:", held_by)

    def _look_at_renewal(self, promise: Promise, keeper: Callable[[str], Link | None]) -> None:
        """A lease outlives its first term once its order is committed, if its node reached Redis all the time."""
        now_s = self._world.loop.time()
        seen_s = self._seen_s.setdefault(promise, now_s)
        if promise not in self._kept and now_s - seen_s > self._renewed_s():
            link = keeper(promise.order_id)
            is_late = link is not None and link.troubled_s < seen_s and link.cut_s == float("inf")
            self._expect(not is_late, promise, "is committed, and its lease was not renewed")

    def _renewed_s(self) -> float:
        """The ledger has answered by then, and the lease is renewed."""
        weather = self._world.weather
        return _RENEWED_S + (2 * weather.slowest_s if weather.slow or weather.redis_slow else 0.0)

    def look_healed(self, holds: Sequence[Hold], healed_s: float, now_ms: int) -> None:
        """What Redis lost has come back, if its order is open and has time left."""
        if self._world.loop.time() < max(healed_s, self.lost_s) + _RESTORED_S:
            return
        for hold in holds:
            if hold.expires_at_ms > now_ms and self._broken.get(Promise(hold.order_id, hold.fence)) == LOST:
                self._expect(False, hold.order_id, "was lost, and has not come back")

    def left(self) -> list[tuple[str, Held]]:
        """Leases that are held now."""
        return [(order_id, held) for ask_key in self._room for order_id, held in self._read(ask_key).items()]

    # --- inside -----------------------------------------------------------------------------------------------------

    def _read(self, ask_key: str) -> dict[str, Held]:
        """Leases that have not run out, by order."""
        leases, due = (self._server.data.values.get(key) or {} for key in self._keys[ask_key])
        found = {}
        for order_id, due_ms in due.items():
            fence, tokens = map(int, leases[f"o:{order_id}"].split())
            found[order_id] = Held(fence, tokens, due_ms)
        return self._live(found)

    def _live(self, leases: dict[str, Held]) -> dict[str, Held]:
        now_ms = self._server.now_us // 1_000
        return {order_id: held for order_id, held in leases.items() if held.due_ms > now_ms}

    def _ask_key(self, hold: Hold) -> str:
        if hold.order_id not in self._ask_of:
            terms = json.loads(hold.terms)
            self._ask_of[hold.order_id] = f"{terms['provider_id']}/{terms['ask_id']}"
        return self._ask_of[hold.order_id]

    def _expect(self, holds: bool, *words: object) -> None:
        self._world.expect(holds, *words)
