"""How many purchases of one user may wait to be paid at once: each is a payment at the payment provider."""

from gollem.clock import Clock
from gollem.errors import LedgerUnavailable, Overtaken, RateLimited
from gollem.ledger import Ledger, Record, records, rules

MOST_OPEN = 20  # as many names as fit into a field, with some to spare
_RETRY_AFTER_MS = 60_000
_ATTEMPTS = 8


class OpenPurchases:
    """Records of kind `basket`, by user: the names of those that were open when it was last tidied."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def admit(self, user: str, stored: str) -> None:
        """One more, unless it is there already. Raises RateLimited."""
        if await self._ledger.find_record(records.PURCHASE, stored):
            return
        for _ in range(_ATTEMPTS):
            basket = await self._ledger.find_record(records.BASKET, user)
            names = basket.text("purchases").split() if basket else []
            if stored in names:
                return
            if len(names) >= MOST_OPEN:
                names = [name for name in names if await self._is_open(name)]
            if len(names) >= MOST_OPEN:
                raise RateLimited(
                    f"{MOST_OPEN} purchases wait to be paid: pay one, or wait until the oldest is cancelled",
                    limit=MOST_OPEN,
                    retry_after_ms=_RETRY_AFTER_MS,
                )
            if await self._write(basket, user, [*names, stored]):
                return
        raise LedgerUnavailable(f"the purchases of {user} keep changing: repeat it")

    async def _is_open(self, name: str) -> bool:
        """One that is not there yet is being made just now, or never will be: then the same user may make another."""
        bought = await self._ledger.find_record(records.PURCHASE, name)
        return bought is not None and bought.state == "CREATED"

    async def _write(self, basket: Record | None, user: str, names: list[str]) -> bool:
        new = Record(records.BASKET, user, "KEPT", {"purchases": " ".join(names)})
        try:
            return (await self._ledger.post(rules.noted(basket, new, self._clock.now_ms()))).applied
        except Overtaken:
            return False
