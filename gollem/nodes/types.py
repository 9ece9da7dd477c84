"""What nodes speak of: changes of the book that travel, claims and their leases, and how nodes are.

Times are milliseconds. An `age_ms` says how long ago it was when it is heard of here, by Redis's own clock, so that the
clocks of nodes need not agree.
"""

from dataclasses import dataclass
from enum import Enum

from gollem.market import Ask
from gollem.providers import Gauge, Promise

# --- changes that travel --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Placed:
    """An ask is new, or has new terms. `per_minute` is its own rate limit, None for none."""

    ask: Ask
    per_minute: int | None
    age_ms: int = 0

    @property
    def ask_key(self) -> str:
        return self.ask.key

    @property
    def model(self) -> str:
        return self.ask.model


@dataclass(frozen=True, slots=True)
class Removed:
    """An ask is not for sale any more as this model. It may have come anew as another: then this is no news."""

    ask_key: str
    model: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A report of the ask's agent. `sequence` is the agent's own."""

    ask_key: str
    model: str
    sequence: int
    promise: Promise
    gauge: Gauge
    age_ms: int = 0


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a client measured of an order: microseconds to the first token, nanoseconds per token after it."""

    ask_key: str
    model: str
    latency_us: int
    tpot_ns: int | None


@dataclass(frozen=True, slots=True)
class Sent:
    """An order was matched to the ask, and takes one slot and `tokens` of it."""

    ask_key: str
    model: str
    order_id: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Began:
    """The ask's agent says that it serves the order."""

    ask_key: str
    model: str
    order_id: str


class Ending(Enum):
    """How an order that was sent has ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CLOSED = "closed"  # voided, expired, cancelled: nobody's failure
    WITHDRAWN = "withdrawn"  # the match came to nothing before the provider could know of it


@dataclass(frozen=True, slots=True)
class Ended:
    """An order has ended, and takes no capacity any more."""

    ask_key: str
    model: str
    order_id: str
    ending: Ending


@dataclass(frozen=True, slots=True)
class FailureReported:
    """The order's client says that it failed."""

    ask_key: str
    model: str
    order_id: str


@dataclass(frozen=True, slots=True)
class FailureRetracted:
    """What was reported had not failed, or not by its provider's fault."""

    ask_key: str
    model: str
    order_id: str


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """The order's consumer wants it no more: whoever the ask's agent reports to, tells it."""

    ask_key: str
    model: str
    order_id: str


@dataclass(frozen=True, slots=True)
class Contested:
    """A consumer's word against that of the ask's provider has counted: it is not to count again for a while."""

    ask_key: str
    model: str
    user: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What an account did at one node since that told last: how often it asked, and the calls that were admitted."""

    account: str
    calls: int
    asked: int

    @property
    def model(self) -> str:
        """It concerns none; this names the partition in which all that concerns the account travels."""
        return self.account


Change = (
    Placed
    | Removed
    | Heard
    | Sampled
    | Sent
    | Began
    | Ended
    | FailureReported
    | FailureRetracted
    | CancelAsked
    | Contested
    | Spent
)

# --- claims ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """One slot and `tokens` of an ask for an order, of what the ask is known to have in all."""

    order_id: str
    ask_key: str
    model: str
    tokens: int
    lease_ms: int
    capacity_tokens: int
    capacity_slots: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Capacity that an order holds for a while. Of two leases on one ask, the later has the higher fence."""

    order_id: str
    ask_key: str
    model: str
    tokens: int
    fence: int


@dataclass(frozen=True, slots=True)
class Granted:
    """The order has its capacity. `degraded`: by this node's own view only, since the shared one could not be asked."""

    fence: int
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The ask has only this much left. `degraded`: it could not be asked for too long, and may have more."""

    free_tokens: int
    free_slots: int
    degraded: bool = False


# --- how nodes are --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    """This node. Counts are since its start.

    `epoch` is when the youngest part of the shared book began, in microseconds of Redis's time; it moves when the
    shared book was emptied. `lag_ms` is how late the last changes of others came. `waiting` changes are not yet sent,
    `dropped` ones never will be, `passed_over` ones were in no form this version knows. `rebuilt` counts partitions
    read anew.
    """

    degraded: bool
    epoch: int
    lag_ms: int
    asks: int
    granted: int
    granted_alone: int
    refused: int
    waiting: int
    dropped: int
    passed_over: int
    rebuilt: int


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One node as it last told. `asks` are those whose agents it hears; figures as in `Status`. `grant_keys` are names
    of the keys that its agents accept, the one that it signs with first; none of an older release."""

    name: str
    version: str
    heartbeat_age_ms: int
    asks: int
    lag_ms: int
    epoch: int
    refused: int
    degraded: bool
    grant_keys: tuple[str, ...] = ()
