"""Every error a user of the client can meet. `GollemError` is the root; gRPC's own errors never come through.

`reason` is stable and for programs, `figures` are the numbers that go with it as strings, the text is for people.
"""

from decimal import Decimal, InvalidOperation
from typing import ClassVar


class GollemError(Exception):
    """Root of all. Raised itself only for a reason that this release of the client does not know."""

    reason: str = "INTERNAL"
    # Whether the same call may be answered otherwise a moment later.
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **figures: str) -> None:
        super().__init__(message)
        self.message = message
        self.figures = figures

    def _number(self, name: str) -> int:
        text = self.figures.get(name, "")
        return int(text) if text.isascii() and text.isdigit() else 0

    def _decimal(self, name: str) -> Decimal:
        try:
            return Decimal(self.figures.get(name, "0"))
        except InvalidOperation:
            return Decimal(0)


# --- the caller has to change something -----------------------------------------------------------------------------


class InvalidField(GollemError):
    """A field breaks a rule."""

    reason = "INVALID_FIELD"

    @property
    def field(self) -> str:
        return self.figures.get("field", "")

    @property
    def rule(self) -> str:
        return self.figures.get("rule", "")


class Unauthenticated(GollemError):
    """No API key, or one that is not valid."""

    reason = "UNAUTHENTICATED"


class Forbidden(GollemError):
    """The API key is valid, but not for this."""

    reason = "FORBIDDEN"


class UnknownModel(GollemError):
    """The exchange's catalogue has no such model."""

    reason = "UNKNOWN_MODEL"


class UnknownOrder(GollemError):
    """There is no such order of this account."""

    reason = "UNKNOWN_ORDER"


class UnknownProvider(GollemError):
    """The book has no ask of this provider."""

    reason = "UNKNOWN_PROVIDER"


class InsufficientCredits(GollemError):
    """The balance does not cover the most that the request may cost."""

    reason = "INSUFFICIENT_CREDITS"

    @property
    def needed(self) -> Decimal:
        """Credits."""
        return self._decimal("needed")

    @property
    def available(self) -> Decimal:
        """Credits."""
        return self._decimal("available")


class SpendLimitReached(GollemError):
    """The account's own limit for the day or the month leaves less than the request may cost."""

    reason = "SPEND_LIMIT_REACHED"

    @property
    def period(self) -> str:
        """ "day" or "month"."""
        return self.figures.get("period", "")

    @property
    def left(self) -> Decimal:
        """Credits."""
        return self._decimal("left")


class AccountFrozen(GollemError):
    """The account may not open holds."""

    reason = "ACCOUNT_FROZEN"


class NoFeasibleAsk(GollemError):
    """No ask meets every limit of the bid."""

    reason = "NO_FEASIBLE_ASK"

    @property
    def excluded_by(self) -> dict[str, int]:
        """Asks that each limit excluded; one ask may be excluded by several."""
        prefix = "excluded_by."
        return {name.removeprefix(prefix): self._number(name) for name in self.figures if name.startswith(prefix)}

    @property
    def may_change(self) -> bool:
        """Whether the same bid may find an ask later, as the exchange judges it."""
        return self.figures.get("retryable", "").lower() == "true"


class CapacityExhausted(NoFeasibleAsk):
    """Asks within every limit exist, but all are full or resting."""

    reason = "CAPACITY_EXHAUSTED"
    retryable = True

    @property
    def retry_after_ms(self) -> int:
        return self._number("retry_after_ms")


class RateLimited(GollemError):
    """Too many calls of this account."""

    reason = "RATE_LIMITED"
    retryable = True

    @property
    def retry_after_ms(self) -> int:
        return self._number("retry_after_ms")


class OrderMismatch(GollemError):
    """The order_id was used before for another bid."""

    reason = "DUPLICATE_ORDER_MISMATCH"


class OrderAlreadyServed(GollemError):
    """The order_id was matched and served before: an answer is generated once. Use a new order_id."""

    reason = "GRANT_USED"


class KeyReused(GollemError):
    """An idempotency key was used before for something else."""

    reason = "IDEMPOTENCY_KEY_REUSED"


class HoldClosed(GollemError):
    """The order's hold is not open any more."""

    reason = "HOLD_CLOSED"


class TooManyStreams(GollemError):
    """The account has as many streams or resting bids as it may."""

    reason = "TOO_MANY_STREAMS"
    retryable = True


class TooManyKeys(GollemError):
    """The account has as many API keys as it may."""

    reason = "TOO_MANY_KEYS"


class TooManyAsks(GollemError):
    """The provider, or the book, has as many asks as it may."""

    reason = "TOO_MANY_ASKS"


class OrderCancelled(GollemError):
    """The order was cancelled before it could be served."""

    reason = "ORDER_CANCELLED"


class NotImplementedByExchange(GollemError):
    """The API has it, the release that the exchange runs has not."""

    reason = "NOT_IMPLEMENTED"


# --- the world did not answer as it should --------------------------------------------------------------------------


class ProviderFailed(GollemError):
    """No provider that was tried began (`text` is empty), or the one that began broke off.

    `text` is what had been received: pay for it is due, and nothing was generated twice.
    """

    reason = "PROVIDER_FAILED"

    def __init__(self, message: str, *, text: str = "", tried: tuple[tuple[str, str], ...] = (), **figures: str):
        super().__init__(message, **figures)
        self.text = text
        # (provider_id, reason) of every provider that was tried, in order.
        self.tried = tried


class ExchangeUnavailable(GollemError):
    """The exchange takes no call now, and nothing has happened. Repeat the call with the same order_id."""

    reason = "SHUTTING_DOWN"
    retryable = True


class ExchangeUnreachable(ExchangeUnavailable):
    """There is no connection to the exchange: its address is wrong, or it does not run."""

    reason = "EXCHANGE_UNREACHABLE"


class ProviderUnreachable(GollemError):
    """There is no connection to a provider's endpoint. Users see it as the reason within a ProviderFailed."""

    reason = "PROVIDER_UNREACHABLE"


class LedgerUnavailable(ExchangeUnavailable):
    """The exchange's ledger took nothing."""

    reason = "LEDGER_UNAVAILABLE"


class BookUnavailable(ExchangeUnavailable):
    """This node of the exchange has been cut off from the others for too long to sell."""

    reason = "BOOK_UNAVAILABLE"


class OutcomeUnknown(GollemError):
    """It may or may not have happened: repeat the call with the same order_id to learn which."""

    reason = "OUTCOME_UNKNOWN"
    retryable = True


def invalid(field: str, rule: str) -> InvalidField:
    """An InvalidField that the client itself raises, in the form of the exchange's."""
    return InvalidField(f"{field}: {rule}", field=field, rule=rule)


def _subclasses(root: type[GollemError]) -> list[type[GollemError]]:
    return [kind for child in root.__subclasses__() for kind in (child, *_subclasses(child))]


_BY_REASON: dict[str, type[GollemError]] = {kind.reason: kind for kind in _subclasses(GollemError)}


def from_reason(reason: str, message: str, figures: dict[str, str]) -> GollemError:
    """The error that stands for a reason of the API."""
    error = _BY_REASON.get(reason, GollemError)(message, **figures)
    if type(error) is GollemError:
        error.reason = reason
    return error
