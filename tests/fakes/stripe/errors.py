"""What the fake refuses, in the shape of Stripe's errors, and whether the refusal is kept under the idempotency key."""

from typing import Any


class RefusalError(Exception):
    """`is_stored`: the endpoint had begun, so that the same key is refused again for as long as it is kept."""

    def __init__(self, status: int, kind: str, message: str, *, is_stored: bool, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.is_stored = is_stored
        told = {name: value for name, value in details.items() if value is not None}
        self.body = {"error": {"type": kind, "message": message} | told}


class ConnectionLostError(Exception):
    """There is nobody to answer to, or nothing to answer."""


def invalid(message: str, param: str | None = None, code: str | None = None) -> RefusalError:
    """A parameter is wrong: nothing was begun, nothing is kept."""
    return RefusalError(400, "invalid_request_error", message, is_stored=False, param=param, code=code)


def refused(message: str, code: str | None = None, param: str | None = None, status: int = 400) -> RefusalError:
    """What is asked for cannot be done now."""
    return RefusalError(status, "invalid_request_error", message, is_stored=True, code=code, param=param)


def missing(kind: str, object_id: str, param: str = "id") -> RefusalError:
    return refused(f"No such {kind}: '{object_id}'", "resource_missing", param, status=404)


def no_access(account_id: str) -> RefusalError:
    message = f"The provided key does not have access to account '{account_id}' (or that account does not exist)."
    return RefusalError(403, "invalid_request_error", message, is_stored=False, code="account_invalid")


def declined(message: str, code: str, decline_code: str, payment: dict[str, Any]) -> RefusalError:
    """The card said no: the payment is there, and waits for another."""
    details = {"code": code, "decline_code": decline_code, "payment_intent": payment}
    return RefusalError(402, "card_error", message, is_stored=True, **details)


def key_reused(key: str) -> RefusalError:
    message = f"Keys for idempotent requests can only be used with the same parameters they were first used with: {key}"
    return RefusalError(400, "idempotency_error", message, is_stored=False)


def key_in_use(key: str) -> RefusalError:
    message = f"There is currently another in-progress request using this idempotency key: {key}"
    return RefusalError(409, "invalid_request_error", message, is_stored=False, code="idempotency_key_in_use")


def rate_limited() -> RefusalError:
    return RefusalError(429, "invalid_request_error", "Too many requests", is_stored=False, code="rate_limit")


def unauthorised() -> RefusalError:
    return RefusalError(401, "invalid_request_error", "Invalid API Key provided", is_stored=False)


def broken() -> RefusalError:
    return RefusalError(500, "api_error", "An unknown error occurred", is_stored=True)
