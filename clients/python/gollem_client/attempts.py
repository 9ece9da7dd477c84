"""Decides which order to try next when a provider fails before its first chunk. Does nothing itself."""

from gollem_client.errors import OrderAlreadyServed, OrderCancelled, ProviderFailed
from gollem_client.stubs import Bid, MatchRequest

# Another provider would refuse these as well, or must not serve it.
FINAL = frozenset({"INVALID_FIELD", OrderAlreadyServed.reason, OrderCancelled.reason})
# Nor are these the provider's failures. One of the clocks may be wrong about a grant's time: another is tried.
_NOBODYS = FINAL | {"PROMPT_TOO_LONG", "GRANT_EXPIRED"}
_MAX_EXCLUDED = 64


class Attempts:
    """The orders of one request: "id", then "id.2", "id.3" and so on, each without the providers that failed."""

    def __init__(self, order_id: str, bid: Bid, tries: int) -> None:
        self._base_id = order_id
        self._bid = bid
        self._tries = tries
        self._orders = 1
        self._recounted = False
        # Orders tried because a provider failed.
        self.failovers = 0
        # (provider_id, reason) of each failure.
        self.tried: list[tuple[str, str]] = []

    @property
    def order_id(self) -> str:
        return self._base_id if self._orders == 1 else f"{self._base_id}.{self._orders}"

    def request(self) -> MatchRequest:
        """The order to match now; without alternates, which would cost the exchange a whole front."""
        return MatchRequest(order_id=self.order_id, bid=self._bid, alternates=0)

    def after(self, failure: ProviderFailed) -> bool:
        """Take note of a failure before the first chunk; whether there is another order to try."""
        reason = failure.figures["provider_reason"]
        self.tried.append((failure.figures["provider_id"], reason))
        if reason == "PROMPT_TOO_LONG":
            return self._recount(failure.figures.get("prompt_tokens", ""))
        excluded = self._bid.exclude_providers
        if reason in FINAL or len(self.tried) >= self._tries or len(excluded) >= _MAX_EXCLUDED:
            return False
        excluded.append(failure.figures["provider_id"])
        self.failovers += 1
        self._orders += 1
        return True

    def blames_provider(self, failure: ProviderFailed) -> bool:
        """Whether the failure is the provider's, not the request's."""
        return failure.figures["provider_reason"] not in _NOBODYS

    def _recount(self, prompt_tokens: str) -> bool:
        """Bid for the prompt's real length, once, if it is more than was bid for."""
        count = int(prompt_tokens) if prompt_tokens.isascii() and prompt_tokens.isdigit() else 0
        if self._recounted or not self._bid.prompt_tokens < count < 2**24:
            return False
        self._bid.prompt_tokens = count
        self._recounted = True
        self._tries += 1
        self._orders += 1
        return True
