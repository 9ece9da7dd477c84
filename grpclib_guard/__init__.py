"""grpclib with the limits that a public server needs. Knows nothing of GoLLeM."""

from .faults import fault, fault_info
from .limits import Limits
from .server import GuardedServer, Service, Statistics

__all__ = ["GuardedServer", "Limits", "Service", "Statistics", "fault", "fault_info"]
