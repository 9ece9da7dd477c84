"""Around every call: who is it, may it call so often, and what its errors are to the wire."""

from typing import Any

from grpclib.events import RecvRequest
from grpclib.exceptions import GRPCError, StreamTerminatedError

from gollem.errors import RateLimited, ShuttingDown, Unauthenticated
from gollem.identity import Authenticator, RateLimiter
from gollem.rpc import context
from gollem.rpc.errors import to_grpc

Call = Any  # grpclib's type of a handler cannot be written down

# Health and reflection need no key.
_OPEN = "/grpc."


class Middleware:
    """Authentication, the client's rate limit and error mapping, for `GuardedServer(on_request=...)`."""

    def __init__(self, authenticator: Authenticator, limiter: RateLimiter) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self.draining = False

    async def __call__(self, event: RecvRequest) -> None:
        if not event.method_name.startswith(_OPEN):
            event.method_func = self._around(event.method_func, event.metadata.get("authorization"))

    def spend(self) -> None:
        """One message of a stream counts like a call. Raises RateLimited."""
        account = context.caller().account
        wait_ms = self._limiter.spend(account)
        if wait_ms:
            raise RateLimited(
                f"account {account} calls too often: wait {wait_ms} ms",
                limit=self._limiter.per_second,
                retry_after_ms=wait_ms,
            )

    def _around(self, call: Call, authorization: Any) -> Call:
        async def guarded(stream: Any) -> None:
            try:
                if self.draining:
                    raise ShuttingDown("this server is stopping: connect again")
                context.set_caller(await self._authenticator.authenticate(_key(authorization)))
                self.spend()
                await call(stream)
            except (GRPCError, StreamTerminatedError, TimeoutError):
                raise
            except Exception as error:
                raise to_grpc(error) from error

        return guarded


def _key(authorization: Any) -> str:
    """The API key of "Bearer <key>". Raises Unauthenticated."""
    scheme, _, key = str(authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Unauthenticated("send your API key as metadata: authorization: Bearer <key>")
    return key.strip()
