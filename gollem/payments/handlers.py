"""Who handles which events of money in. Each fetches the object that the event names."""

from gollem.payments.disputes import Disputes
from gollem.payments.inbox import Handler
from gollem.payments.purchases import Purchases
from gollem.payments.refunds import Refunds
from gollem.payments.types import Event


def money_in(purchases: Purchases, refunds: Refunds, disputes: Disputes) -> dict[str, Handler]:
    """By the beginning of the event's type, as the inbox takes them."""

    async def payment(event: Event) -> None:
        await purchases.refresh(event.object_id)

    async def refund(event: Event) -> None:
        await refunds.refresh(event.object_id)

    async def dispute(event: Event) -> None:
        await disputes.refresh(event.object_id)

    return {
        "payment_intent.": payment,
        "refund.": refund,
        "charge.refund.": refund,  # how older versions of the API tell it
        "charge.dispute.": dispute,
    }
