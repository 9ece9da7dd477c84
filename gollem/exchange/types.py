"""What the use cases take and give. Money is atoms, times are milliseconds since the epoch."""

import hashlib
import json
from dataclasses import dataclass
from enum import Enum
from typing import Self

from gollem.market import Bid, Offer, PriceTerms


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed at the match. Kept as text in the hold, so that settlement and replay need nothing else."""

    provider_id: str
    ask_id: str
    model: str
    gpu_type: str
    endpoint: str
    price_ticks: int
    completion_price_ticks: int
    model_micro: int
    gpu_centi: int
    prompt_tokens: int
    max_tokens: int
    latency_us: int
    tpot_ns: int
    measured: bool
    front_size: int
    fee_bps: int
    matched_at_ms: int
    grant_expires_at_ms: int
    counted_on: str = ""  # the day (yyyymmdd) whose spend limit the hold counts against; empty: none

    @property
    def ask_key(self) -> str:
        return f"{self.provider_id}/{self.ask_id}"

    @property
    def tokens(self) -> int:
        """What the order claims of the ask's capacity."""
        return self.prompt_tokens + self.max_tokens

    @property
    def price(self) -> PriceTerms:
        """What charges are reckoned by."""
        return PriceTerms(
            self.price_ticks,
            self.completion_price_ticks,
            self.gpu_centi,
            self.model_micro,
            self.prompt_tokens,
            self.max_tokens,
        )

    def to_text(self) -> str:
        # Not `asdict`, which copies deeply: this is on the path of every match.
        stated = {name: getattr(self, name) for name in self.__slots__}
        if not self.counted_on:  # as earlier releases write it, and read it
            del stated["counted_on"]
        return json.dumps(stated, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Self:
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Matched:
    """A committed order. `alternates` are empty when the answer is a replay. `degraded`: its room was claimed without
    asking the other nodes, which may have sold it, too; a replay does not say so."""

    order_id: str
    terms: Terms
    held_atoms: int
    available_atoms: int
    hold_expires_at_ms: int
    alternates: tuple[Offer, ...]
    replayed: bool
    fence: int = 0
    degraded: bool = False


class Outcome(Enum):
    """How a generation ended, by the provider's word."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """held = charged + refunded and charged = share + fee, exactly."""

    order_id: str
    held_atoms: int
    charged_atoms: int
    fee_atoms: int
    usage: Usage
    replayed: bool = False

    @property
    def refunded_atoms(self) -> int:
        return self.held_atoms - self.charged_atoms

    @property
    def share_atoms(self) -> int:
        return self.charged_atoms - self.fee_atoms


class CancelState(Enum):
    CANCELLED = "cancelled"
    PENDING = "pending"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Cancelled:
    state: CancelState
    refunded_atoms: int


class ClientOutcome(Enum):
    """How a generation ended, by the client's word."""

    COMPLETED = "completed"
    FAILED_BEFORE_FIRST_CHUNK = "failed_before_first_chunk"
    FAILED_MIDSTREAM = "failed_midstream"


def bid_fingerprint(user: str, bid: Bid) -> str:
    """Tells a replay of an order from another bid under the same order_id."""
    stated = [user, *(getattr(bid, name) for name in bid.__slots__)]
    return hashlib.sha256(repr(stated).encode()).hexdigest()[:32]
