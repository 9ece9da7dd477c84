"""What an account may do in all, over every node: each tells now and then what it let the account do."""

from collections.abc import Callable

from gollem.identity import RateLimiter, Use
from gollem.nodes import Spent


class ClientLimits:
    def __init__(self, limiter: RateLimiter, announce: Callable[[Spent], None]) -> None:
        """`announce` tells the other nodes."""
        self._limiter = limiter
        self._announce = announce

    def tell(self) -> None:
        """To be called every heartbeat."""
        for use in self._limiter.share():
            self._announce(Spent(use.account, use.calls, use.asked))

    def take_in(self, spent: Spent) -> None:
        """The same, said by another node."""
        self._limiter.heard(Use(spent.account, spent.calls, spent.asked))
