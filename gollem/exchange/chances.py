"""Why an ask is not matched: the bids that came lately, tried against it as it is now."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from gollem.exchange.floor import Floor
from gollem.exchange.tape import SeenBid, Tape
from gollem.market import Ask, Catalogue, Chances, Verdict
from gollem.providers import Registry

MAX_ASKS = 8  # a call, unless one is named
MAX_LOST = 20


@dataclass(frozen=True, slots=True)
class Loss:
    """A bid that the ask would not get."""

    seen: SeenBid
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Outlook:
    """How one ask would do. Each `winning_` figure would win half of the bids that it alone can win, whose number is in
    the `_wins` of it; None: it can win none. `lost` is the newest first, at most MAX_LOST."""

    ask_id: str
    model: str
    gpu_type: str
    bids: int
    since_ms: int
    blocked_by: tuple[str, ...]
    won: int = 0
    outbid: int = 0
    excluded_by: Counter[str] = field(default_factory=Counter)
    winning_price_ticks: int | None = None
    price_wins: int = 0
    winning_latency_us: int | None = None
    latency_wins: int = 0
    winning_tpot_ns: int | None = None
    tpot_wins: int = 0
    lost: Sequence[Loss] = ()


class Advice:
    """What providers are told. Reckoned beside the loop, one ask at a time: a full tape takes tens of milliseconds."""

    def __init__(self, floor: Floor, registry: Registry, tape: Tape, catalogue: Catalogue) -> None:
        self._floor = floor
        self._registry = registry
        self._tape = tape
        self._catalogue = catalogue
        self._reckoning = asyncio.Lock()

    async def outlooks(self, provider_id: str, ask_id: str) -> list[Outlook]:
        """Of one ask, or with an empty `ask_id` of the provider's first MAX_ASKS. None that are not in the book."""
        keys = [f"{provider_id}/{ask_id}"] if ask_id else self._floor.asks_of(provider_id)[:MAX_ASKS]
        async with self._reckoning:
            return [outlook for key in keys if (outlook := await self._outlook(key))]

    async def _outlook(self, key: str) -> Outlook | None:
        ask, seller = self._floor.ask(key), self._registry.seller(key)
        if ask is None or seller is None:
            return None
        latency_us, tpot_ns, _ = seller.figures
        chances, bids = Chances(ask, latency_us, tpot_ns, self._catalogue), self._tape.bids(ask.model)
        blocked_by = tuple(sorted(block.value for block in self._floor.blocks(key)))
        verdicts = await asyncio.to_thread(lambda: [chances.judge(seen.bid, seen.winner) for seen in bids])
        return _outlook(ask, blocked_by, bids, verdicts)


def _outlook(ask: Ask, blocked_by: tuple[str, ...], bids: Sequence[SeenBid], verdicts: Sequence[Verdict]) -> Outlook:
    lost = [Loss(seen, verdict) for seen, verdict in zip(bids, verdicts, strict=True) if not verdict.won]
    prices = [one.verdict.price_ticks for one in lost if one.verdict.price_ticks is not None]
    latencies = [one.verdict.latency_us for one in lost if one.verdict.latency_us is not None]
    speeds = [one.verdict.tpot_ns for one in lost if one.verdict.tpot_ns is not None]
    return Outlook(
        ask_id=ask.ask_id,
        model=ask.model,
        gpu_type=ask.gpu_type,
        bids=len(bids),
        since_ms=bids[-1].at_ms if bids else 0,
        blocked_by=blocked_by,
        won=len(bids) - len(lost),
        outbid=sum(not one.verdict.excluded_by for one in lost),
        excluded_by=Counter(name for one in lost for name in one.verdict.excluded_by),
        winning_price_ticks=_wins_half(prices),
        price_wins=len(prices),
        winning_latency_us=_wins_half(latencies),
        latency_wins=len(latencies),
        winning_tpot_ns=_wins_half(speeds),
        tpot_wins=len(speeds),
        lost=lost[:MAX_LOST],
    )


def _wins_half(figures: list[int]) -> int | None:
    """The largest figure that at least half of these allow."""
    return sorted(figures, reverse=True)[(len(figures) - 1) // 2] if figures else None
