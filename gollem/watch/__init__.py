"""What each room says of itself, as the figures that `observability` defines. Reads, and changes nothing."""

from gollem.watch.calls import LedgerOperations
from gollem.watch.room import Watch, Watched

__all__ = ["LedgerOperations", "Watch", "Watched"]
