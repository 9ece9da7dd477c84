"""The half of CreditService that buys credits."""

from typing import Any

from gollem import units
from gollem.payments import Payments, PurchaseView, TopUpView
from gollem.rpc import context, fields
from gollem.rpc.pb import credit_pb2


class PurchaseCalls:
    """Decodes, calls the payments room, encodes. Consumers buy for themselves."""

    def __init__(self, payments: Payments) -> None:
        self._payments = payments

    async def create(self, request: credit_pb2.CreatePaymentIntentRequest) -> credit_pb2.CreatePaymentIntentResponse:
        user = context.consumer()
        purchase_id = fields.account(request.purchase_id, "purchase_id")
        cents = fields.cents(request.amount_usd, "amount_usd")
        created = await self._payments.purchases.create(user, purchase_id, cents, keep_card=request.keep_card)
        return credit_pb2.CreatePaymentIntentResponse(
            purchase_id=purchase_id,
            client_secret=created.client_secret,
            credits=units.format_fixed(cents * units.ATOMS_PER_CENT),
            pay_url=created.pay_url,
        )

    async def find(self, request: credit_pb2.GetPurchaseRequest) -> credit_pb2.Purchase:
        user = context.readable(request.account)
        purchase_id = fields.account(request.purchase_id, "purchase_id")
        return _purchase(purchase_id, await self._payments.purchases.find(user, purchase_id))

    async def set_top_up(self, request: credit_pb2.SetTopUpRequest) -> credit_pb2.TopUp:
        user = context.consumer()
        if not request.enabled:
            await self._payments.top_ups.switch_off(user)
        else:
            await self._payments.top_ups.configure(
                user,
                threshold_atoms=fields.positive_atoms(request.threshold, "threshold"),
                amount_cents=fields.cents(request.amount_usd, "amount_usd"),
                monthly_cap_cents=fields.cents(request.monthly_cap_usd, "monthly_cap_usd"),
            )
        return _top_up(await self._payments.top_ups.find(user))

    async def find_top_up(self, request: credit_pb2.GetTopUpRequest) -> credit_pb2.TopUp:
        return _top_up(await self._payments.top_ups.find(context.consumer()))


def _purchase(purchase_id: str, view: PurchaseView) -> credit_pb2.Purchase:
    return credit_pb2.Purchase(
        purchase_id=purchase_id,
        state=view.state,
        amount_usd=units.format_cents(view.cents),
        credits=units.format_fixed(view.cents * units.ATOMS_PER_CENT),
        created_at_ms=view.created_ms,
        receipt_url=view.receipt_url,
        refunded_usd=units.format_cents(view.refunded_cents),
    )


def _top_up(view: TopUpView) -> credit_pb2.TopUp:
    figures: dict[str, Any] = {
        "threshold": units.format_fixed(view.threshold_atoms),
        "amount_usd": units.format_cents(view.amount_cents),
        "monthly_cap_usd": units.format_cents(view.monthly_cap_cents),
        "used_usd": units.format_cents(view.month_cents),
    }
    return credit_pb2.TopUp(enabled=view.is_on, **figures)
