"""What Stripe is asked for, where more than an amount and an id is said."""

from typing import Any

from gollem.payments.types import CURRENCY, Agreement, PaymentOrder

PAGE_SIZE = 100  # the most that Stripe gives


def payment(order: PaymentOrder) -> Any:
    """Whoever pays chooses how; a kept card is charged at once, and may not ask its absent owner for anything."""
    params: dict[str, Any] = {
        "amount": order.cents,
        "currency": CURRENCY,
        "automatic_payment_methods": {"enabled": True},
        "description": f"GoLLeM credits, purchase {order.purchase_id}",
        "metadata": {"purchase_id": order.purchase_id},
        "expand": ["latest_charge"],
    }
    if order.customer_id:
        params["customer"] = order.customer_id
    if order.card_id:
        params |= {"payment_method": order.card_id, "confirm": True, "off_session": True}
        params["automatic_payment_methods"] = {"enabled": True, "allow_redirects": "never"}
    elif order.customer_id:
        params["setup_future_usage"] = "off_session"
    return params


def account(provider: str, country: str, agreement: Agreement) -> Any:
    """Stripe collects the details and shows the dashboard, the platform pays the fees and bears the losses. Money
    leaves for the bank when we say so, never by a schedule, so that each payout is one of ours."""
    params: dict[str, Any] = {
        "country": country,
        "controller": {
            "fees": {"payer": "application"},
            "losses": {"payments": "application"},
            "requirement_collection": "stripe",
            "stripe_dashboard": {"type": "express"},
        },
        "capabilities": {"transfers": {"requested": True}},
        "settings": {"payouts": {"schedule": {"interval": "manual"}}},
        "metadata": {"provider": provider},
    }
    if agreement is Agreement.RECIPIENT:
        params["tos_acceptance"] = {"service_agreement": "recipient"}
    return params


def transfer(payout_id: str, connected_id: str, cents: int) -> Any:
    """Not tied to a charge: credits are fungible, and so is what is paid out."""
    return {
        "amount": cents,
        "currency": CURRENCY,
        "destination": connected_id,
        "transfer_group": payout_id,
        "description": f"GoLLeM payout {payout_id}",
        "metadata": {"payout_id": payout_id},
    }


def bank_payout(payout_id: str, attempt: int, cents: int) -> Any:
    return {
        "amount": cents,
        "currency": CURRENCY,
        "description": f"GoLLeM payout {payout_id}",
        "metadata": {"payout_id": payout_id, "attempt": str(attempt)},
    }


def onboarding(connected_id: str, return_url: str) -> Any:
    """All that will ever be due is asked for at once, so that payouts do not stop later."""
    return {
        "account": connected_id,
        "type": "account_onboarding",
        "collection_options": {"fields": "eventually_due"},
        "refresh_url": return_url,
        "return_url": return_url,
    }


def refunds(payment_id: str, page: str) -> Any:
    return {**after(page), "payment_intent": payment_id}


def after(page: str, *expand: str) -> Any:
    """A page of a list; `page` is the last id of the one before."""
    params: dict[str, Any] = {"limit": PAGE_SIZE}
    if page:
        params["starting_after"] = page
    if expand:
        params["expand"] = list(expand)
    return params


def since(since_ms: int, page: str, *expand: str, until_ms: int | None = None) -> Any:
    """The same, of what was created then or later, and not after `until_ms`."""
    created = {"gte": max(0, since_ms // 1_000)}
    if until_ms is not None:
        created["lte"] = -(-until_ms // 1_000)
    return {**after(page, *expand), "created": created}
