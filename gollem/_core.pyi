"""The order book's compiled heart, as Python sees it: see _core.pyx. Integers only; arrays are of 64-bit integers."""

from typing_extensions import Buffer

MAX_PRICE_TICKS: int
MAX_TOKENS: int
MAX_GPU_CENTI: int
MAX_LATENCY_US: int
MAX_TPOT_NS: int
MAX_CAPACITY_TOKENS: int
MAX_CAPACITY_SLOTS: int
MAX_RESERVE_UNITS: int
MAX_CLAIMED_TOKENS: int
MAX_CLAIMED_SLOTS: int
MAX_TERM: int
MAX_LISTED: int
MAX_PARTITIONS: int
NO_LIMIT: int

_Found = tuple[int, int, int, int]

class OutOfRange(ValueError):
    field: str
    rule: str
    def __init__(self, field: str, rule: str) -> None: ...

class Query:
    def __init__(
        self,
        partitions: tuple[int, ...],
        prompt_tokens: int,
        max_tokens: int,
        need_tokens: int,
        max_price_ticks: int,
        max_cost_units: int,
        max_latency_us: int,
        max_tpot_ns: int,
        scales: tuple[int, ...],
        only: tuple[int, ...] | None = None,
        exclude: tuple[int, ...] = (),
    ) -> None: ...

class Book:
    def __init__(self, lanes: int = 64) -> None: ...
    def __len__(self) -> int: ...
    def memory_bytes(self) -> int: ...
    def nodes_scanned(self) -> int: ...
    def check(self) -> None: ...
    def partition(self, gpu_centi: int) -> int: ...
    def add(
        self,
        partition: int,
        provider: int,
        price_ticks: int,
        completion_price_ticks: int,
        reserve_units: int,
        latency_us: int,
        tpot_ns: int,
        capacity_tokens: int,
        capacity_slots: int,
    ) -> int: ...
    def change(
        self,
        handle: int,
        price_ticks: int,
        completion_price_ticks: int,
        reserve_units: int,
        latency_us: int,
        tpot_ns: int,
        capacity_tokens: int,
        capacity_slots: int,
    ) -> bool: ...
    def update(
        self,
        handles: Buffer,
        latency_us: Buffer,
        tpot_ns: Buffer,
        capacity_tokens: Buffer,
        capacity_slots: Buffer,
    ) -> int: ...
    def remove(self, handle: int) -> bool: ...
    def set_blocks(self, handle: int, blocks: int) -> bool: ...
    def claim(self, handle: int, tokens: int, slots: int = 1) -> bool: ...
    def state(self, handle: int) -> tuple[int, int, int, int, int, int, int] | None: ...
    def match(self, query: Query, claim: bool = True) -> _Found | None: ...
    def match_by_scan(self, query: Query) -> _Found | None: ...
    def front(self, query: Query, policy_order: bool, limit: int) -> tuple[int, list[_Found]]: ...
    def census(self, query: Query, partitions: tuple[int, ...]) -> tuple[int, ...]: ...
    def totals(self, partitions: tuple[int, ...]) -> tuple[int, int, int, int, int]: ...
