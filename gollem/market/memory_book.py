"""The order book in memory: names and types of the market on one side, the compiled core's numbers on the other."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from gollem import _core
from gollem.errors import InvalidField
from gollem.market.book import Report
from gollem.market.catalogue import Catalogue, Model
from gollem.market.numbering import Numbering
from gollem.market.pricing import check_bid, cost_atoms, cost_units, max_cost_units, reserve_units, scales
from gollem.market.types import (
    MAX_LISTED,
    MAX_QUOTED,
    Ask,
    Bid,
    Block,
    Depth,
    Match,
    Offer,
    Policy,
    Quote,
    Rejection,
)

_BITS = {Block.SILENT: 1, Block.CIRCUIT_OPEN: 2, Block.RATE_LIMITED: 4}
# The order of _core.Book.census.
_LIMITS = ("price", "cost", "latency", "throughput", "gpu_type", "provider", "capacity", "reserve")
_REASONS = (*_LIMITS, *(block.value for block in _BITS))
_FIELDS = {"reserve_units": "credit_rate"}
_HALF_OF_DEPTH = 500  # tokens of prompt and of completion for which a depth tells costs
# handle, cost_units, latency_us, tpot_ns
_Found = tuple[int, int, int, int]
_MAX_LOOKED_AT = 1_024
_SLOT = 0xFFFFFFFF  # the part of a handle that is small and used again


@dataclass(slots=True)
class _Entry:
    """What the core does not know of an ask."""

    ask: Ask
    model: Model
    gpu_centi: int
    handle: int
    blocks: int = 0
    measured: bool = False


class MemoryBook:
    """An OrderBook of this process. Raises InvalidField or UnknownModel for what it cannot hold."""

    def __init__(self, catalogue: Catalogue, lanes: int = 64) -> None:
        """`lanes`: asks a page of the core, fewer than 64 only in tests, to have large trees of few asks."""
        self._catalogue = catalogue
        self._core = _core.Book(lanes)
        self._entries: dict[str, _Entry] = {}
        self._by_slot: dict[int, _Entry] = {}
        # By model, then GPU type. Bounded by the catalogue.
        self._partitions: dict[str, dict[str, int]] = {}
        # Partitions that bids looked at, by model and the GPU types named; forgotten when a partition is added.
        self._looked_at: dict[tuple[str, tuple[str, ...]], tuple[int, ...]] = {}
        self._providers = Numbering()

    def __len__(self) -> int:
        return len(self._entries)

    def check(self) -> None:
        """Raise AssertionError if the core breaks a rule of its own. For tests: it reads everything."""
        self._core.check()

    # --- asks -------------------------------------------------------------------------------------------------------

    def place(self, ask: Ask) -> None:
        model, gpu_centi = self._catalogue.resolve(ask.model), self._catalogue.gpu(ask.gpu_type)
        entry = self._entries.get(ask.key)
        try:
            if entry is not None and entry.model is model and entry.ask.gpu_type == ask.gpu_type:
                self._core.change(entry.handle, *_terms(ask, model))
                entry.ask, entry.measured = ask, False
            else:
                self._add(ask, model, gpu_centi, moved=entry)
        except (_core.OutOfRange, OverflowError) as error:
            raise _invalid(error) from error

    def remove(self, key: str) -> bool:
        entry = self._entries.get(key)
        if entry is None:
            return False
        self._take_out(entry)
        return True

    def ask(self, key: str) -> Ask | None:
        entry = self._entries.get(key)
        return entry.ask if entry else None

    def offer(self, key: str, bid: Bid) -> Offer | None:
        entry = self._entries.get(key)
        state = self._core.state(entry.handle) if entry else None
        if entry is None or state is None or entry.model.name != bid.model:
            return None
        ask = entry.ask
        units = cost_units(
            ask.price_ticks, ask.completion_price_ticks, bid.prompt_tokens, bid.max_tokens, entry.gpu_centi
        )
        return Offer(ask, cost_atoms(units, entry.model.multiplier_micro), state[0], state[1], entry.measured)

    def update(self, reports: Sequence[Report]) -> int:
        known = [(entry, report) for report in reports if (entry := self._entries.get(report.key))]
        try:
            applied = self._core.update(
                array("q", [entry.handle for entry, _ in known]),
                array("q", [report.latency_us for _, report in known]),
                array("q", [report.tpot_ns for _, report in known]),
                array("q", [report.capacity_tokens for _, report in known]),
                array("q", [report.capacity_slots for _, report in known]),
            )
        except (_core.OutOfRange, OverflowError) as error:
            raise _invalid(error) from error
        for entry, report in known:
            entry.measured = report.measured
        return applied

    def block(self, key: str, reason: Block) -> None:
        if entry := self._entries.get(key):
            self._set_blocks(entry, entry.blocks | _BITS[reason])

    def unblock(self, key: str, reason: Block) -> None:
        if entry := self._entries.get(key):
            self._set_blocks(entry, entry.blocks & ~_BITS[reason])

    def blocks(self, key: str) -> frozenset[Block]:
        entry = self._entries.get(key)
        return frozenset(block for block, bit in _BITS.items() if entry and entry.blocks & bit)

    def claim(self, key: str, tokens: int) -> bool:
        entry = self._entries.get(key)
        return entry is not None and self._core.claim(entry.handle, tokens)

    def release(self, key: str, tokens: int) -> bool:
        entry = self._entries.get(key)
        return entry is not None and self._core.claim(entry.handle, -tokens, -1)

    # --- bids -------------------------------------------------------------------------------------------------------

    def match(self, bid: Bid, alternates: int = 3) -> Match | Rejection:
        model = self._catalogue.resolve(bid.model)
        query = self._query(bid, model)
        if alternates == 0:
            found, size = self._core.match(query), 0
            front = [] if found is None else [found]
        else:
            size, front = self._core.front(query, True, 1 + alternates)
        if not front:
            return _as_rejection(self._census(query, model))
        tokens = bid.prompt_tokens + bid.max_tokens
        if alternates:
            self._core.claim(front[0][0], tokens)
        winner, *others = self._offers(front, model)
        return Match(winner, tokens, tuple(others), size)

    def quote(self, bid: Bid) -> Quote:
        model = self._catalogue.resolve(bid.model)
        query = self._query(bid, model)
        size, front = self._core.front(query, False, MAX_QUOTED)
        winner = self._core.match(query, False)
        census = self._census(query, model)
        return Quote(
            front=tuple(self._offers(front, model)),
            front_size=size,
            feasible=census[1],
            winner=self._offers([winner], model)[0] if winner else None,
            rejection=_as_rejection(census),
        )

    def depth(self, model: str) -> Depth:
        found = self._catalogue.resolve(model)
        partitions = tuple(self._partitions.get(found.name, {}).values())
        live, blocked, free_tokens, free_slots, least_sum = self._core.totals(partitions)
        probe = Bid(found.name, _HALF_OF_DEPTH, _HALF_OF_DEPTH, policy=Policy.PRICE)
        size, front = self._core.front(self._query(probe, found, need_tokens=1), False, MAX_LISTED)
        return Depth(
            model=found.name,
            live_asks=live,
            blocked_asks=blocked,
            free_tokens=free_tokens,
            free_slots=free_slots,
            best_price_ticks=(least_sum + 1) // 2 if live else None,
            front=tuple(self._offers(front, found)),
            front_size=size,
        )

    # --- inside -----------------------------------------------------------------------------------------------------

    def _add(self, ask: Ask, model: Model, gpu_centi: int, moved: _Entry | None) -> None:
        """A new ask, with the claims and blocks of the one that it was before."""
        provider = self._providers.take(ask.provider_id)
        try:
            handle = self._core.add(self._partition(model, ask.gpu_type, gpu_centi), provider, *_terms(ask, model))
        except BaseException:
            self._providers.drop(ask.provider_id)
            raise
        entry = _Entry(ask, model, gpu_centi, handle)
        if moved is not None:
            state = self._core.state(moved.handle)
            assert state is not None, "an entry's handle is live"
            self._core.claim(handle, state[4], state[5])
            self._set_blocks(entry, moved.blocks)
            self._take_out(moved)
        self._entries[ask.key] = self._by_slot[handle & _SLOT] = entry

    def _take_out(self, entry: _Entry) -> None:
        self._core.remove(entry.handle)
        self._providers.drop(entry.ask.provider_id)
        del self._entries[entry.ask.key], self._by_slot[entry.handle & _SLOT]

    def _partition(self, model: Model, gpu_type: str, gpu_centi: int) -> int:
        by_gpu = self._partitions.setdefault(model.name, {})
        number = by_gpu.get(gpu_type)
        if number is None:
            number = by_gpu[gpu_type] = self._core.partition(gpu_centi)
            self._looked_at.clear()
        return number

    def _set_blocks(self, entry: _Entry, blocks: int) -> None:
        entry.blocks = blocks
        self._core.set_blocks(entry.handle, blocks)

    def _query(self, bid: Bid, model: Model, need_tokens: int | None = None) -> _core.Query:
        check_bid(bid)
        cost, latency, tpot = scales(bid, model)
        return _core.Query(
            self._partitions_of(model, bid.gpu_types),
            bid.prompt_tokens,
            bid.max_tokens,
            bid.prompt_tokens + bid.max_tokens if need_tokens is None else need_tokens,
            _limit(bid.max_price_ticks),
            min(max_cost_units(bid.max_cost_atoms, model.multiplier_micro), _core.NO_LIMIT),
            _limit(bid.max_latency_us),
            _limit(bid.max_tpot_ns),
            (*cost, *latency, *tpot),
            self._providers.known(bid.only_providers) if bid.only_providers else None,
            self._providers.known(bid.exclude_providers) if bid.exclude_providers else (),
        )

    def _partitions_of(self, model: Model, gpu_types: tuple[str, ...]) -> tuple[int, ...]:
        """Those of the GPU types named, or all."""
        key = (model.name, gpu_types)
        found = self._looked_at.get(key)
        if found is None:
            by_gpu = self._partitions.get(model.name, {})
            found = tuple({by_gpu[gpu] for gpu in gpu_types or by_gpu if gpu in by_gpu})
            if len(self._looked_at) >= _MAX_LOOKED_AT:
                self._looked_at.clear()
            self._looked_at[key] = found
        return found

    def _offers(self, found: list[_Found], model: Model) -> list[Offer]:
        offers = []
        for handle, units, latency_us, tpot_ns in found:
            entry = self._by_slot[handle & _SLOT]
            offers.append(
                Offer(entry.ask, cost_atoms(units, model.multiplier_micro), latency_us, tpot_ns, entry.measured)
            )
        return offers

    def _census(self, query: _core.Query, model: Model) -> tuple[int, ...]:
        return self._core.census(query, tuple(self._partitions.get(model.name, {}).values()))


def _terms(ask: Ask, model: Model) -> tuple[int, ...]:
    """An ask's own figures, in the order in which the core takes them."""
    return (
        ask.price_ticks,
        ask.completion_price_ticks,
        reserve_units(ask.credit_rate_atoms, model.multiplier_micro),
        ask.latency_us,
        ask.tpot_ns,
        ask.capacity_tokens,
        ask.capacity_slots,
    )


def _invalid(error: _core.OutOfRange | OverflowError) -> InvalidField:
    """The core's refusal in the words of whoever sent the figure."""
    if isinstance(error, _core.OutOfRange):
        return InvalidField(_FIELDS.get(error.field, error.field), error.rule)
    return InvalidField("figures", "must be integers of 64 bits")


def _limit(value: int | None) -> int:
    return _core.NO_LIMIT if value is None else min(value, _core.NO_LIMIT)


def _as_rejection(census: tuple[int, ...]) -> Rejection:
    considered, _, full, *counts = census
    excluded_by = {reason: count for reason, count in zip(_REASONS, counts, strict=False) if count}
    return Rejection(considered, excluded_by, full)
