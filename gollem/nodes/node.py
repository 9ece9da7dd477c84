"""What every part of a node's side of the shared book needs."""

from dataclasses import dataclass
from random import Random

from gollem.clock import Clock
from gollem.config import NodesConfig
from gollem.nodes.redis_client import RedisClient
from gollem.nodes.shared_time import SharedTime


@dataclass(frozen=True, slots=True)
class Node:
    """This one. `sender` is its name and which run of it: what an earlier one sent was another's. `chance` spreads
    waits, and keeps no secret."""

    sender: str
    client: RedisClient
    time: SharedTime
    clock: Clock
    config: NodesConfig
    chance: Random
