"""What a payment at the payment provider comes to: credits, a cancelled purchase, or an alert.

Its metadata only finds the purchase. Whose credits they are, how many, and which payment it is, the purchase says.
"""

from gollem.clock import Clock
from gollem.errors import Overtaken, WrongState
from gollem.ledger import Desk, Ledger, Record, accounts, records, rules
from gollem.payments.alerts import raise_alert
from gollem.payments.cards import Cards
from gollem.payments.gateway import PaymentGateway
from gollem.payments.types import CURRENCY, Payment, PaymentStatus
from gollem.units import ATOMS_PER_CENT


class Crediting:
    """May be told of any payment, by anybody, any number of times."""

    def __init__(self, ledger: Ledger, desk: Desk, gateway: PaymentGateway, cards: Cards, clock: Clock) -> None:
        self._ledger = ledger
        self._desk = desk
        self._gateway = gateway
        self._cards = cards
        self._clock = clock

    async def take(self, payment: Payment) -> None:
        """Act on a payment as it was fetched. Only one that has succeeded is money."""
        bought = await self._purchase_of(payment)
        if payment.status is PaymentStatus.SUCCEEDED:
            wrong = self._mismatch(payment, bought)
            if bought is None or wrong:
                await self._tell(payment, wrong)
            elif bought.state == "CREATED":
                await self._credit(payment, bought)
        elif payment.status is PaymentStatus.CANCELLED and bought and _is_open_for(bought, payment.payment_id):
            await self.book_cancelled(bought)

    async def _purchase_of(self, payment: Payment) -> Record | None:
        if not accounts.is_name(payment.purchase_id):
            return None
        return await self._ledger.find_record(records.PURCHASE, payment.purchase_id)

    def _mismatch(self, payment: Payment, bought: Record | None) -> str:
        """Why this is not the payment that the purchase asked for; empty if it is."""
        if bought is None:
            return "no purchase asked for it"
        if bought.text("payment_id") not in ("", payment.payment_id):
            return f"purchase {bought.id} has another payment"
        if bought.state == "CANCELLED":
            return f"purchase {bought.id} was cancelled"
        if payment.livemode != self._gateway.livemode:
            return "it is of another mode"
        if (payment.currency.lower(), payment.received_cents) != (CURRENCY, cents_of(bought)):
            return (
                f"{payment.received_cents} cents of {payment.currency}, and {cents_of(bought)} of {CURRENCY} were due"
            )
        return ""

    async def _credit(self, payment: Payment, bought: Record) -> None:
        if bought.number("keep_card"):
            await self._cards.keep(bought.text("user"), payment)
        try:
            await self._desk.credit_purchase(bought.id, payment.payment_id, payment.received_cents, payment.currency)
        except WrongState:  # cancelled, or credited for another payment, since it was read
            now = await self._purchase_of(payment)
            await self._tell(payment, self._mismatch(payment, now) or "its purchase is over")

    async def _tell(self, payment: Payment, why: str) -> None:
        """Money that came and is not credited. It is booked to S:unmatched when the books are compared."""
        message = f"{payment.received_cents} cents of {payment.currency} were paid and are not credited: {why}"
        await raise_alert(
            self._ledger, self._clock, f"payment:{payment.payment_id}", f"payment {payment.payment_id}", message
        )

    async def book_cancelled(self, bought: Record) -> None:
        """It will never be paid."""
        try:
            await self._ledger.post(rules.purchase_cancelled(bought, self._clock.now_ms()))
        except Overtaken:
            return  # credited meanwhile


def cents_of(bought: Record) -> int:
    """What a purchase costs."""
    return bought.number("amount_atoms") // ATOMS_PER_CENT


def _is_open_for(bought: Record, payment_id: str) -> bool:
    return bought.state == "CREATED" and bought.text("payment_id") in ("", payment_id)
