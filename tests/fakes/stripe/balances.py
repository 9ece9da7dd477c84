"""The fake's own books: balance transactions, and the balances that are their sums."""

from collections.abc import Callable

from gollem.payments.types import CURRENCY
from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object, Store

_PENDING_S = 2 * 86_400
_CATEGORIES = {
    "payment": "charge",
    "payment_refund": "refund",
    "transfer_refund": "transfer_reversal",
    "adjustment": "dispute",
    "stripe_fee": "fee",
    "payout_failure": "payout_reversal",
    "payout_cancel": "payout_reversal",
}


def charge_fee_cents(amount_cents: int) -> int:
    """2.9 % and 30 cents, rounded half up."""
    return (amount_cents * 29 + 500) // 1000 + 30


class Balances:
    """Of the platform (`account` is empty) and of each connected account."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def move(
        self,
        kind: str,
        amount_cents: int,
        source_id: str | None,
        *,
        fee_cents: int = 0,
        is_pending: bool = False,
        account: str = "",
        description: str | None = None,
    ) -> str:
        """One balance transaction; returns its id."""
        details = [{"amount": fee_cents, "currency": CURRENCY, "type": "stripe_fee", "application": None}]
        made = self._store.make(
            "balance_transaction",
            "txn",
            account,
            amount=amount_cents,
            fee=fee_cents,
            fee_details=details if fee_cents else [],
            net=amount_cents - fee_cents,
            currency=CURRENCY,
            type=kind,
            reporting_category=_CATEGORIES.get(kind, kind),
            balance_type="payments",
            description=description,
            exchange_rate=None,
            source=source_id,
            status="pending" if is_pending else "available",
            available_on=self._store.now_s() + (_PENDING_S if is_pending else 0),
        )
        return str(made["id"])

    def cents(self, status: str, account: str = "") -> int:
        """What is `available`, or `pending`."""
        moved = self._store.all("balance_transaction", account)
        return sum(txn["net"] for txn in moved if txn["status"] == status)

    def release(self, account: str = "") -> None:
        """What is pending is available from now on."""
        for txn in self._store.all("balance_transaction", account):
            txn["status"] = "available"

    def balance(self, account: str = "") -> Object:
        """The one object without an id."""

        def part(status: str) -> list[Object]:
            cents = self.cents(status, account)
            return [{"amount": cents, "currency": CURRENCY, "source_types": {"card": cents}}]

        parts = {"available": part("available"), "pending": part("pending")}
        return {"object": "balance", "livemode": self._store.livemode} | parts

    # --- endpoints

    def routes(self) -> dict[str, Callable[[Request], Object]]:
        return {
            "GET /v1/balance": self._balance,
            "GET /v1/balance_transactions": self._list,
            "GET /v1/balance_transactions/{id}": self._retrieve,
        }

    def _balance(self, request: Request) -> Object:
        request.allow("")
        return self.balance(request.account)

    def _list(self, request: Request) -> Object:
        return self._store.page(request, "balance_transaction", "type source currency")

    def _retrieve(self, request: Request) -> Object:
        return self._store.find("balance_transaction", request.path_ids[0], request.account)
