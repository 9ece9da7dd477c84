"""What a failed call to Stripe means for money: the one place that decides it."""

import logging
from collections.abc import Mapping
from typing import Any

import aiohttp

from gollem.errors import (
    GollemError,
    InvariantBroken,
    OutcomeUnknown,
    PaymentFault,
    PaymentRefused,
    PaymentsUnavailable,
)

_log = logging.getLogger(__name__)
# Raised while the connection is made, before a byte of the call is on its way.
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_ABSENT = ("resource_missing", "account_invalid")


def of_connection(cause: BaseException | None) -> GollemError:
    """No whole answer came. `cause` is what broke."""
    if isinstance(cause, _NOT_SENT):
        return PaymentsUnavailable("the payment provider cannot be reached")
    return OutcomeUnknown("the payment provider did not answer")


def of_answer(status: int, body: object, request_id: str | None) -> GollemError:
    """An answer that is not the one hoped for; `body` is its JSON, if it was any."""
    error = _error(body)
    kind, code = str(error.get("type") or ""), str(error.get("code") or "")
    if status >= 500:
        return PaymentFault("the payment provider broke down", request_id=request_id)
    if status in (401, 403) and code not in _ABSENT:
        return PaymentsUnavailable(
            "the payment provider does not accept payments.stripe_key, or it may not do this", request_id=request_id
        )
    if status == 429 or code in ("rate_limit", "lock_timeout"):
        return PaymentsUnavailable("the payment provider is busy", request_id=request_id)
    if kind == "idempotency_error" and status == 400:
        return InvariantBroken("an idempotency key was used again for something else", request_id=request_id)
    if 400 <= status < 500 and status != 409:
        return _refusal(kind, code, str(error.get("message") or ""), request_id)
    # 409: the same key is being worked on at this moment. And a success that cannot be read.
    return OutcomeUnknown("the payment provider gave no answer to this call", request_id=request_id)


def is_absent(status: int | None, body: object) -> bool:
    """Whether it says that there is no such object, or none that we may see."""
    return status == 404 or (status == 403 and _error(body).get("code") in _ABSENT)


def _refusal(kind: str, code: str, message: str, request_id: str | None) -> PaymentRefused:
    """What is wrong with a card is told to its owner in Stripe's words; anything else is told to the log alone."""
    code = code or kind or "unknown"
    if kind == "card_error":
        return PaymentRefused(message or "the card was declined", code)
    _log.warning("Stripe refused request %s: %s: %s", request_id, code, message)
    return PaymentRefused(f"the payment provider refused this: {code}", code)


def _error(body: object) -> Mapping[str, Any]:
    error = body.get("error") if isinstance(body, Mapping) else None
    return error if isinstance(error, Mapping) else {}
