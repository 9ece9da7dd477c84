"""gRPC errors as the exchange and the agents send them."""

from google.rpc.error_details_pb2 import ErrorInfo
from grpclib import GRPCError, Status


def fault(status: Status, reason: str, **figures: str) -> GRPCError:
    """A status with an ErrorInfo."""
    return GRPCError(status, reason.lower(), [ErrorInfo(reason=reason, domain="gollem", metadata=figures)])
