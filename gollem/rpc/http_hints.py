"""What an error means in HTTP where its gRPC status cannot say it: told in trailers, obeyed by the gateway."""

from google.rpc.error_details_pb2 import ErrorInfo
from grpclib.const import Status
from grpclib.events import SendTrailingMetadata

HTTP_STATUS = "x-http-status"
RETRY_AFTER = "retry-after"
# gRPC has one status for all that is not as it has to be; HTTP has one for money.
_STATUSES = {"INSUFFICIENT_CREDITS": "402", "SPEND_LIMIT_REACHED": "402"}


async def add_http_hints(event: SendTrailingMetadata) -> None:
    """A status of HTTP, and seconds to wait rounded up, where the error's reason and figures tell one."""
    if event.status is Status.OK:
        return
    for detail in event.status_details or ():
        if isinstance(detail, ErrorInfo):
            if detail.reason in _STATUSES:
                event.metadata[HTTP_STATUS] = _STATUSES[detail.reason]
            wait_ms = detail.metadata.get("retry_after_ms", "")
            if wait_ms.isdigit():
                event.metadata[RETRY_AFTER] = str(-(-int(wait_ms) // 1_000))
