"""What each room says of itself, as the figures that `observability` defines. Reads, and changes nothing."""

from gollem.watch.calls import LedgerOperations, redis_timer
from gollem.watch.room import Watch, Watched

__all__ = ["LedgerOperations", "Watch", "Watched", "redis_timer"]
