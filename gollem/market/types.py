"""What the market speaks of: bids, asks, offers, matches and rejections. Integers only.

Prices are ticks (10^-8 USD per standard credit of work), money is atoms (10^-8 credits), latency is microseconds to the
first token, speed is `tpot_ns`, nanoseconds per token, so that in all three smaller is better.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

MAX_PRICE_TICKS = 10**8
MAX_TOKENS = 2**24 - 1  # prompt and completion together
MAX_LATENCY_US = 3_600_000_000
MAX_TPOT_NS = 10**13
MAX_CAPACITY_TOKENS = 10**12
MAX_CAPACITY_SLOTS = 65_536
MAX_LISTED = 64
MAX_QUOTED = 256
MAX_WEIGHT = 1_000


class Policy(Enum):
    """Which point of the front a bid takes."""

    BALANCED = "balanced"
    PRICE = "price"
    LATENCY = "latency"
    THROUGHPUT = "throughput"


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the balanced policy, 0 to 1000 each, not all 0."""

    price: int = 1
    latency: int = 1
    throughput: int = 1


DEFAULT_WEIGHTS = Weights()


@dataclass(frozen=True, slots=True)
class Bid:
    """What a consumer wants. `None` means no limit; `max_tpot_ns` is the inverse of the least throughput.

    `model` is the catalogue's own name, aliases resolved; `max_tokens` is clamped to the context.
    """

    model: str
    prompt_tokens: int
    max_tokens: int
    max_price_ticks: int | None = None
    max_cost_atoms: int | None = None
    max_latency_us: int | None = None
    max_tpot_ns: int | None = None
    gpu_types: tuple[str, ...] = ()
    only_providers: tuple[str, ...] = ()
    exclude_providers: tuple[str, ...] = ()
    policy: Policy = Policy.BALANCED
    weights: Weights = DEFAULT_WEIGHTS


class Block(Enum):
    """Why an ask is in the book and yet not matched."""

    SILENT = "silent"
    CIRCUIT_OPEN = "circuit_open"
    RATE_LIMITED = "rate_limited"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a provider sells. `credit_rate_atoms` is the least it accepts per token, 0 for none.

    `latency_us` and `tpot_ns` are promises; the book may use measured figures instead.
    """

    provider_id: str
    ask_id: str
    model: str
    gpu_type: str
    price_ticks: int
    completion_price_ticks: int
    credit_rate_atoms: int
    latency_us: int
    tpot_ns: int
    capacity_tokens: int
    capacity_slots: int
    endpoint: str

    @property
    def key(self) -> str:
        """Unique in the book."""
        return f"{self.provider_id}/{self.ask_id}"


@dataclass(frozen=True, slots=True)
class Offer:
    """An ask as one bid sees it now: effective figures, and the worst-case cost in atoms, rounded up."""

    ask: Ask
    cost_atoms: int
    latency_us: int
    tpot_ns: int
    measured: bool


@dataclass(frozen=True, slots=True)
class Match:
    """The winner, whose capacity is claimed: one slot and `claimed_tokens`. `alternates` is the rest of the front."""

    offer: Offer
    claimed_tokens: int
    alternates: tuple[Offer, ...]
    front_size: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """No ask will do. `excluded_by` counts asks per limit (an ask may be excluded by several).

    `considered` counts the model's asks. `full` counts asks which only want of capacity or a block keeps away, so that
    the same bid may succeed later.
    """

    considered: int
    excluded_by: Mapping[str, int]
    full: int


@dataclass(frozen=True, slots=True)
class Quote:
    """The front, cheapest first, at most MAX_QUOTED of its `front_size`, and what each limit excluded.

    `winner` is what the bid's policy picks.
    """

    front: tuple[Offer, ...]
    front_size: int
    feasible: int
    winner: Offer | None
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class Depth:
    """One model's side of the book. The front is for equal parts of prompt and completion, cheapest first."""

    model: str
    live_asks: int
    blocked_asks: int
    free_tokens: int
    free_slots: int
    best_price_ticks: int | None
    front: tuple[Offer, ...]
    front_size: int
