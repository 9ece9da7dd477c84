"""Every error of the exchange on one screen, rooted by who has to act.

`CallerError`: the request cannot be granted as it is; its figures say what to change. Expected, never logged as fault.
`WorldError`: something we depend on did not answer; repeat the same call with the same id.
`InvariantBroken`: our own bug. The caller learns that and nothing else; the log has the rest.
"""

from typing import ClassVar


class GollemError(Exception):
    """Root of all. `figures` are the numbers and names a program needs, as strings; `message` is for people."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, **figures: object) -> None:
        super().__init__(message)
        self.message = message
        self.figures = {name: str(value) for name, value in figures.items() if value is not None}


# --- the caller's to mend -------------------------------------------------------------------------------------------


class CallerError(GollemError):
    """The caller has to change something, or wait."""


class InvalidField(CallerError):
    """A field breaks a rule; figures: field, rule."""

    reason = "INVALID_FIELD"

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}", field=field, rule=rule)
        self.field = field
        self.rule = rule


class Unauthenticated(CallerError):
    """No key, or one that is not valid."""

    reason = "UNAUTHENTICATED"


class Forbidden(CallerError):
    """The key is valid, but not for this."""

    reason = "FORBIDDEN"


class OtherMode(Forbidden):
    """Signed as it should be, and about money of the other mode: test money, or real."""


class UnknownModel(CallerError):
    """The catalogue has no such model; figures: model."""

    reason = "UNKNOWN_MODEL"


class UnknownOrder(CallerError):
    """No such order, or it is not the caller's; figures: order_id."""

    reason = "UNKNOWN_ORDER"


class UnknownProvider(CallerError):
    """The book has no ask of this provider; figures: provider_id."""

    reason = "UNKNOWN_PROVIDER"


class InsufficientCredits(CallerError):
    """figures: needed, available (credits)."""

    reason = "INSUFFICIENT_CREDITS"


class NothingPayable(InsufficientCredits):
    """Fewer credits are payable than are paid out; figures: needed, available (credits)."""

    reason = "NOTHING_PAYABLE"


class SpendLimitReached(CallerError):
    """The account's own limit for the day or the month; figures: period, limit, needed, left (credits)."""

    reason = "SPEND_LIMIT_REACHED"


class AccountFrozen(CallerError):
    """The account may not open holds; figures: account."""

    reason = "ACCOUNT_FROZEN"


class NoFeasibleAsk(CallerError):
    """No ask meets every limit; figures: one `excluded_by.<limit>` a limit with its count, retryable, considered."""

    reason = "NO_FEASIBLE_ASK"


class CapacityExhausted(CallerError):
    """Asks within every limit exist, but all are full or resting; figures: as NoFeasibleAsk, and retry_after_ms."""

    reason = "CAPACITY_EXHAUSTED"


class RateLimited(CallerError):
    """figures: limit, retry_after_ms."""

    reason = "RATE_LIMITED"


class OrderMismatch(CallerError):
    """The order_id was used before for another bid; figures: order_id."""

    reason = "DUPLICATE_ORDER_MISMATCH"


class KeyReused(CallerError):
    """An idempotency key was used before for something else; figures: key."""

    reason = "IDEMPOTENCY_KEY_REUSED"


class HoldClosed(CallerError):
    """The hold is not open any more; figures: order_id, state."""

    reason = "HOLD_CLOSED"


class Overtaken(CallerError):
    """What was read before is not so any more: somebody else was faster. Read again, or leave it to them."""


class WrongState(Overtaken):
    """What it is about is not in the state this needs; figures: kind, id, state (ABSENT if it is not there)."""

    reason = "WRONG_STATE"


class StaleRead(Overtaken):
    """What this was computed from is not so any more: read again; figures: what."""

    reason = "STALE_READ"


class TooManyStreams(CallerError):
    """The caller has as many streams or resting bids as it may; figures: limit."""

    reason = "TOO_MANY_STREAMS"


class TooManyKeys(CallerError):
    """The account has as many API keys as it may; figures: limit."""

    reason = "TOO_MANY_KEYS"


class TooManyAsks(CallerError):
    """The provider, or the book, has as many asks as it may; figures: limit."""

    reason = "TOO_MANY_ASKS"


class OrderCancelled(CallerError):
    """The bid was resting, and its consumer cancelled it; figures: order_id."""

    reason = "ORDER_CANCELLED"


class PromptTooLong(CallerError):
    """The provider counts more tokens in the prompt than the bid allowed; figures: prompt_tokens, allowed."""

    reason = "PROMPT_TOO_LONG"


class GrantSpent(CallerError):
    """The order has been generated, cancelled or left too long before; figures: order_id."""

    reason = "GRANT_SPENT"


class UnknownPurchase(CallerError):
    """No such purchase, or it is not the caller's; figures: purchase_id."""

    reason = "UNKNOWN_PURCHASE"


class UnknownPayout(CallerError):
    """No such payout, or it is not the caller's; figures: payout_id."""

    reason = "UNKNOWN_PAYOUT"


class PaymentRefused(CallerError):
    """The payment provider said no: a declined card, a country it does not serve; figures: code."""

    reason = "PAYMENT_REFUSED"

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code=code)
        self.code = code


class NotOnboarded(CallerError):
    """The provider cannot be paid yet, so it may not sell; figures: provider_id, blocked_by."""

    reason = "NOT_ONBOARDED"


class PaymentsOff(CallerError):
    """This exchange takes and pays no money."""

    reason = "PAYMENTS_OFF"


# --- the world's ----------------------------------------------------------------------------------------------------


class WorldError(GollemError):
    """Something outside did not answer as it should."""


class LedgerUnavailable(WorldError):
    """The ledger took nothing: repeat the same call."""

    reason = "LEDGER_UNAVAILABLE"


class OutcomeUnknown(WorldError):
    """It may or may not have happened: repeat the same call with the same id to learn which."""

    reason = "OUTCOME_UNKNOWN"


class BookUnavailable(WorldError):
    """The book that nodes share cannot be asked: repeat the same call."""

    reason = "BOOK_UNAVAILABLE"


class PaymentsUnavailable(WorldError):
    """The payment provider took nothing: repeat the same call."""

    reason = "PAYMENTS_UNAVAILABLE"


class PaymentFault(OutcomeUnknown):
    """The payment provider broke down, and will answer so again under the same key. Never leaves `payments`."""


class ProviderFailed(WorldError):
    """A provider broke off or never answered; figures: provider_id."""

    reason = "PROVIDER_FAILED"


class ShuttingDown(WorldError):
    """This server is draining; another one, or this one in a moment, will answer."""

    reason = "SHUTTING_DOWN"


# --- ours -----------------------------------------------------------------------------------------------------------


class InvariantBroken(GollemError):
    """What must hold does not. Nothing was acknowledged."""
