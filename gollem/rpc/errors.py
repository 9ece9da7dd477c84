"""The one place where the exchange's errors become gRPC statuses."""

import logging

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from gollem import errors
from grpclib_guard import fault

DOMAIN = "gollem"
_log = logging.getLogger(__name__)

_STATUSES: dict[type[errors.GollemError], Status] = {
    errors.InvalidField: Status.INVALID_ARGUMENT,
    errors.Unauthenticated: Status.UNAUTHENTICATED,
    errors.Forbidden: Status.PERMISSION_DENIED,
    errors.UnknownModel: Status.NOT_FOUND,
    errors.UnknownOrder: Status.NOT_FOUND,
    errors.UnknownProvider: Status.NOT_FOUND,
    errors.NoFeasibleAsk: Status.NOT_FOUND,
    errors.InsufficientCredits: Status.FAILED_PRECONDITION,
    errors.NothingPayable: Status.FAILED_PRECONDITION,
    errors.SpendLimitReached: Status.FAILED_PRECONDITION,
    errors.AccountFrozen: Status.FAILED_PRECONDITION,
    errors.HoldClosed: Status.FAILED_PRECONDITION,
    errors.WrongState: Status.FAILED_PRECONDITION,
    errors.StaleRead: Status.ABORTED,
    errors.CapacityExhausted: Status.RESOURCE_EXHAUSTED,
    errors.RateLimited: Status.RESOURCE_EXHAUSTED,
    errors.TooManyStreams: Status.RESOURCE_EXHAUSTED,
    errors.TooManyKeys: Status.RESOURCE_EXHAUSTED,
    errors.TooManyAsks: Status.RESOURCE_EXHAUSTED,
    errors.OrderMismatch: Status.ALREADY_EXISTS,
    errors.KeyReused: Status.ALREADY_EXISTS,
    errors.OrderCancelled: Status.CANCELLED,
    errors.PromptTooLong: Status.INVALID_ARGUMENT,
    errors.GrantSpent: Status.FAILED_PRECONDITION,
    errors.NotOnboarded: Status.FAILED_PRECONDITION,
    errors.UnknownPurchase: Status.NOT_FOUND,
    errors.UnknownPayout: Status.NOT_FOUND,
    errors.PaymentRefused: Status.FAILED_PRECONDITION,
    errors.PaymentsOff: Status.UNIMPLEMENTED,
}


def status_of(error: errors.GollemError) -> Status:
    """The world's errors are UNAVAILABLE: the same call may succeed later. Ours are INTERNAL."""
    if isinstance(error, errors.WorldError):
        return Status.UNAVAILABLE
    return _STATUSES.get(type(error), Status.INTERNAL)


def public(error: Exception) -> errors.GollemError:
    """What the caller may know: expected errors as they are, anything else without detail, which goes to the log."""
    if isinstance(error, errors.CallerError | errors.WorldError):
        return error
    _log.error("a call failed by our own fault", exc_info=error)
    return errors.GollemError("internal error: it has been logged, and nothing was acknowledged")


def to_grpc(error: Exception) -> GRPCError:
    """Status, message, and ErrorInfo with the reason and the figures."""
    shown = public(error)
    return fault(status_of(shown), shown.reason, shown.message, shown.figures, DOMAIN)
