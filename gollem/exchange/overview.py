"""The whole exchange on one page, for who operates it: read only."""

from dataclasses import dataclass

from gollem.clock import DAY_MS, Clock, utc_day
from gollem.exchange.cases import Cases
from gollem.exchange.floor import Floor
from gollem.exchange.waiting import WaitingRoom
from gollem.ledger import Check, Ledger, Record, records
from gollem.nodes import NodeInfo, SharedBook
from gollem.providers import Registry


@dataclass(frozen=True, slots=True)
class Picture:
    """What this server sees. `checks` are the last results, by check; `halted` says why payouts are."""

    uptime_ms: int
    models: int
    live_asks: int
    blocked_asks: int
    resting_bids: int
    open_orders: int
    open_circuits: int
    nodes: list[NodeInfo]
    checks: list[tuple[Check, Record]]
    halted: str
    cases: list[Record]


class Overview:
    def __init__(
        self,
        ledger: Ledger,
        floor: Floor,
        registry: Registry,
        waiting: WaitingRoom,
        shared: SharedBook,
        cases: Cases,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._floor = floor
        self._registry = registry
        self._waiting = waiting
        self._shared = shared
        self._cases = cases
        self._clock = clock
        self._started_ms = clock.monotonic_ms()

    async def look(self) -> Picture:
        depths = [self._floor.depth(model) for model in self._floor.models()]
        breaker = await self._ledger.find_record(records.BREAKER, records.PAYOUTS)
        now_ms = self._clock.monotonic_ms()
        return Picture(
            uptime_ms=now_ms - self._started_ms,
            models=len(depths),
            live_asks=sum(depth.live_asks for depth in depths),
            blocked_asks=sum(depth.blocked_asks for depth in depths),
            resting_bids=len(self._waiting),
            open_orders=self._floor.claims(),
            open_circuits=self._registry.open_circuits(now_ms),
            nodes=list(await self._shared.nodes()),
            checks=await self._checks(),
            halted=breaker.text("reason") if breaker and breaker.state == "HALTED" else "",
            cases=[case for case in await self._cases.waiting() if case.kind != records.BREAKER],
        )

    async def _checks(self) -> list[tuple[Check, Record]]:
        """The last result of each, of today or else of yesterday; a check that was not made then is left out."""
        now_ms, found = self._clock.now_ms(), list[tuple[Check, Record]]()
        for check in Check:
            for day in (utc_day(now_ms), utc_day(now_ms - DAY_MS)):
                result = await self._ledger.find_record(records.RECONCILIATION, f"{day}:{check}")
                if result is not None:
                    found.append((check, result))
                    break
        return found
