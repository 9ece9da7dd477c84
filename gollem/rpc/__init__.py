"""The gRPC edge: decode, call, encode. No rule of the business lives here."""

from gollem.rpc.grants import GrantSigner
from gollem.rpc.server import Edge

__all__ = ["Edge", "GrantSigner"]
