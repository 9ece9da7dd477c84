"""Payments: dollars in, dollars out, through a payment provider. Never on the way of an order."""
