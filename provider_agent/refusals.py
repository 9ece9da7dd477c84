"""Why the agent does not serve a request, and the gRPC status that each reason goes with."""

from grpclib import GRPCError, Status

from grpclib_guard import fault

DOMAIN = "provider.gollem"

_STATUS = {
    "INVALID_FIELD": Status.INVALID_ARGUMENT,
    "PROMPT_TOO_LONG": Status.INVALID_ARGUMENT,
    "GRANT_INVALID": Status.PERMISSION_DENIED,
    "GRANT_EXPIRED": Status.FAILED_PRECONDITION,
    "GRANT_USED": Status.ALREADY_EXISTS,
    "ORDER_CANCELLED": Status.FAILED_PRECONDITION,
    "CAPACITY_EXHAUSTED": Status.RESOURCE_EXHAUSTED,
    # The consumer takes its answer too slowly, or not at all.
    "READER_TOO_SLOW": Status.RESOURCE_EXHAUSTED,
    "UPSTREAM_FAILED": Status.UNAVAILABLE,
    # Not registered yet, cut off from the exchange, or draining.
    "NOT_SERVING": Status.UNAVAILABLE,
}


class Refusal(Exception):
    """The request is not served; figures as strings for programs, the message for people."""

    def __init__(self, reason: str, message: str, **figures: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.figures = {name: str(value) for name, value in figures.items()}

    def to_grpc(self) -> GRPCError:
        return fault(_STATUS[self.reason], self.reason, self.message, self.figures, DOMAIN)


def invalid(field: str, rule: str) -> Refusal:
    """A field of the request breaks a rule."""
    return Refusal("INVALID_FIELD", f"{field}: {rule}", field=field, rule=rule)
