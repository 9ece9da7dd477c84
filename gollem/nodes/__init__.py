"""Several servers over one book: what each tells the others, and whose order gets the last slot."""

from gollem.clock import Clock
from gollem.config import NodesConfig
from gollem.nodes.memory_nodes import MemoryNodes
from gollem.nodes.shared_book import Listener, SharedBook
from gollem.nodes.types import (
    Began,
    CancelAsked,
    Change,
    ClaimRequest,
    Contested,
    Ended,
    Ending,
    FailureReported,
    FailureRetracted,
    Granted,
    Heard,
    Lease,
    NodeInfo,
    Placed,
    Refused,
    Removed,
    Sampled,
    Sent,
    Spent,
    Status,
    Timed,
    nobody_times,
)

__all__ = [
    "Began",
    "CancelAsked",
    "Change",
    "ClaimRequest",
    "Contested",
    "Ended",
    "Ending",
    "FailureReported",
    "FailureRetracted",
    "Granted",
    "Heard",
    "Lease",
    "Listener",
    "MemoryNodes",
    "NodeInfo",
    "Placed",
    "Refused",
    "Removed",
    "Sampled",
    "Sent",
    "SharedBook",
    "Spent",
    "Status",
    "open_shared_book",
]


def open_shared_book(
    config: NodesConfig,
    version: str,
    clock: Clock,
    grant_keys: tuple[str, ...] = (),
    timed: Timed = nobody_times,
    ledger: str = "",
) -> SharedBook:
    """One process alone, or Redis, as the configuration's URL says. Nothing is connected before `start`. `grant_keys`
    are names of the keys that this node's agents accept, the one that signs first; `ledger` is the name of its ledger:
    both have to go with the other nodes', and are not compared if empty. `timed(operation, seconds, outcome)` hears of
    every call of Redis.

    Raises ConfigError if the URL is none."""
    if config.is_alone:
        return MemoryNodes(config.own_name(), version, clock, grant_keys)
    from gollem.nodes.redis_nodes import RedisNodes

    return RedisNodes(config, version, clock, grant_keys, timed, ledger=ledger)
