"""Who handles which events. Each fetches the object that the event names."""

from gollem.payments.disputes import Disputes
from gollem.payments.inbox import Handler
from gollem.payments.onboarding import Onboarding
from gollem.payments.payouts import Payouts
from gollem.payments.purchases import Purchases
from gollem.payments.refunds import Refunds
from gollem.payments.types import Event


def money_out(onboarding: Onboarding, payouts: Payouts) -> dict[str, Handler]:
    """The same of money out."""

    async def account(event: Event) -> None:
        await onboarding.refresh(event.connected_id or event.object_id)

    async def transfer(event: Event) -> None:
        await payouts.refresh_transfer(event.object_id)

    async def bank_payout(event: Event) -> None:
        if event.connected_id:  # one of the platform's own is found with its movement
            await payouts.refresh(event.connected_id, event.object_id)

    return {"account.": account, "transfer.": transfer, "payout.": bank_payout}


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
