"""Cards that are kept: a user's customer at the payment provider, and which card to charge. No card data is here."""

from functools import partial

from gollem.clock import Clock
from gollem.errors import Overtaken
from gollem.ledger import Ledger, Record, records, rules
from gollem.payments.attempts import Attempts
from gollem.payments.gateway import PaymentGateway
from gollem.payments.types import Payment


class Cards:
    """Records of kind `customer`, by user: KNOWN, with `customer_id`, and `card_id` once a card was kept."""

    def __init__(self, ledger: Ledger, gateway: PaymentGateway, attempts: Attempts, clock: Clock) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._attempts = attempts
        self._clock = clock

    async def find(self, user: str) -> Record | None:
        return await self._ledger.find_record(records.CUSTOMER, user)

    async def customer(self, user: str) -> str:
        """The user's customer id, made if there is none. A customer that was made and lost is never charged: it only
        lies at the payment provider."""
        known = await self.find(user)
        if known is not None:
            return known.text("customer_id")
        create = partial(self._gateway.create_customer, user)
        customer_id = await self._attempts.carry_out(f"customer.{user}", _nobody, create)
        await self._change(None, Record(records.CUSTOMER, user, "KNOWN", {"customer_id": customer_id, "card_id": ""}))
        made = await self.find(user)
        assert made is not None, "it was just written, by us or by somebody faster"
        return made.text("customer_id")

    async def keep(self, user: str, payment: Payment) -> None:
        """Charge the card of this payment from now on, if it is the user's customer who paid."""
        known = await self.find(user)
        if known is None or not payment.card_id or payment.customer_id != known.text("customer_id"):
            return
        if known.text("card_id") != payment.card_id:
            await self._change(known, Record(known.kind, user, "KNOWN", {**known.fields, "card_id": payment.card_id}))

    async def _change(self, known: Record | None, new: Record) -> None:
        """Unless somebody else was faster: then theirs counts."""
        try:
            await self._ledger.post(rules.noted(known, new, self._clock.now_ms()))
        except Overtaken:
            return


async def _nobody() -> str | None:
    """Customers are not looked for: a second one does no harm."""
    return None
