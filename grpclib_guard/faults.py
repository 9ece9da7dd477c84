"""Errors that programs can read: a stable reason and figures beside the message, in google.rpc details."""

from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpclib.const import Status
from grpclib.exceptions import GRPCError

# Many clients take no more than 8 KiB of trailers, and give up the error with the rest.
_MAX_MESSAGE_BYTES = 512
_MAX_FIGURES_BYTES = 2_048


def fault(
    status: Status,
    reason: str,
    message: str,
    figures: Mapping[str, str] | None = None,
    domain: str = "",
    *,
    retry_after_ms: int | None = None,
) -> GRPCError:
    """An error for a handler to raise: ErrorInfo with `reason`, `domain` and `figures`, RetryInfo where told.

    Text too long for trailers is cut, and figures that do not fit any more are left out.
    """
    details: list[object] = [ErrorInfo(reason=reason, domain=domain, metadata=_fitting(figures or {}))]
    if retry_after_ms is not None:
        delay = Duration()
        delay.FromMilliseconds(retry_after_ms)
        details.append(RetryInfo(retry_delay=delay))
    return GRPCError(status, _cut(message, _MAX_MESSAGE_BYTES), details)


def fault_info(error: GRPCError) -> tuple[str, dict[str, str]]:
    """The reason and figures of an error that a client received; ("", {}) where it has none.

    `retry_after_ms` is among the figures where the server gave RetryInfo and no figure of that name.
    """
    reason = ""
    figures: dict[str, str] = {}
    for detail in error.details if isinstance(error.details, list) else []:
        if isinstance(detail, ErrorInfo):
            reason, figures = detail.reason, {**figures, **detail.metadata}
        elif isinstance(detail, RetryInfo):
            figures.setdefault("retry_after_ms", str(detail.retry_delay.ToMilliseconds()))
    return reason, figures


def _cut(text: str, size_max: int) -> str:
    return text.encode(errors="replace")[:size_max].decode(errors="ignore")


def _fitting(figures: Mapping[str, str]) -> dict[str, str]:
    left, fitting = _MAX_FIGURES_BYTES, {}
    for name, value in figures.items():
        text = _cut(value, _MAX_MESSAGE_BYTES)
        left -= len(name.encode()) + len(text.encode())
        if left < 0:
            break
        fitting[name] = text
    return fitting
