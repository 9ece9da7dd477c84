"""Payments: dollars in, dollars out, through a payment provider. Never on the way of an order."""

from gollem.payments.payout_trail import Trail
from gollem.payments.payouts import PayoutView
from gollem.payments.purchases import PurchaseView, stored_id
from gollem.payments.room import Payments, open_payments
from gollem.payments.statement_text import as_csv, as_html
from gollem.payments.top_ups import TopUpView

__all__ = [
    "Payments",
    "PayoutView",
    "PurchaseView",
    "TopUpView",
    "Trail",
    "as_csv",
    "as_html",
    "open_payments",
    "stored_id",
]
