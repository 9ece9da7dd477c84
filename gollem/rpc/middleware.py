"""Around every call: who is it, may it call so often, and what its errors are to the wire."""

import asyncio
import re
from collections.abc import Mapping
from secrets import token_hex
from typing import Any

from grpclib.const import Status
from grpclib.events import RecvRequest
from grpclib.exceptions import GRPCError, StreamTerminatedError

from gollem.errors import RateLimited, ShuttingDown, Unauthenticated
from gollem.identity import Authenticator, RateLimiter
from gollem.observability import note, traces
from gollem.rpc import context
from gollem.rpc.call_meter import CallMeter
from gollem.rpc.errors import DOMAIN, to_grpc
from grpclib_guard import fault

Call = Any  # grpclib's type of a handler cannot be written down

# Health and reflection need no key.
_OPEN = "/grpc."
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
# Streams that never end by themselves: they must not hold up a server that stops.
_ENDLESS = frozenset(
    {
        "/gollem.v1.ProviderService/Telemetry",
        "/gollem.v1.MarketService/WatchOrderBook",
        "/gollem.v1.MarketService/MatchStream",
    }
)


class Middleware:
    """Authentication, the client's rate limit and error mapping, for `GuardedServer(on_request=...)`."""

    def __init__(self, authenticator: Authenticator, limiter: RateLimiter, meter: CallMeter) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._meter = meter
        self._draining = asyncio.Event()

    async def __call__(self, event: RecvRequest) -> None:
        if not event.method_name.startswith(_OPEN):
            call = self._until_drained(event.method_func) if event.method_name in _ENDLESS else event.method_func
            guarded = self._around(call, event.metadata.get("authorization"))
            event.method_func = self._metered(guarded, event.method_name, event.metadata)

    def drain(self) -> None:
        """Refuse every call from now on, and end the streams that would not end."""
        self._draining.set()

    async def admit(self) -> None:
        """One message of a stream, which counts like a call: a key revoked meanwhile is good for no more of them.
        Raises RateLimited, Unauthenticated."""
        await self._authenticator.confirm(context.caller())
        self._spend()

    def _spend(self) -> None:
        account = context.caller().account
        wait_ms = self._limiter.spend(account)
        if wait_ms:
            raise RateLimited(
                f"account {account} calls too often: wait {wait_ms} ms",
                limit=self._limiter.per_second,
                retry_after_ms=wait_ms,
            )

    def _until_drained(self, call: Call) -> Call:
        async def bounded(stream: Any) -> None:
            serving = asyncio.ensure_future(call(stream))
            draining = asyncio.ensure_future(self._draining.wait())
            try:
                await asyncio.wait((serving, draining), return_when=asyncio.FIRST_COMPLETED)
                if not serving.done():
                    raise _stopping()
                await serving
            finally:
                for task in (serving, draining):
                    task.cancel()
                await asyncio.gather(serving, draining, return_exceptions=True)

        return bounded

    def _metered(self, call: Call, method: str, metadata: Mapping[str, Any]) -> Call:
        async def metered(stream: Any) -> None:
            note(request_id=_request_id(metadata.get("x-request-id")))
            with traces.call_span(method, metadata.get(traces.PARENT)), self._meter.call(method):
                await call(stream)

        return metered

    def _around(self, call: Call, authorization: Any) -> Call:
        async def guarded(stream: Any) -> None:
            try:
                if self._draining.is_set():
                    raise _stopping()
                context.set_caller(await self._authenticator.authenticate(_key(authorization)))
                self._spend()
                await call(stream)
            except GRPCError as error:
                raise _with_reason(error) from error
            except (StreamTerminatedError, TimeoutError):
                raise
            except Exception as error:
                raise to_grpc(error) from error

        return guarded


def _with_reason(error: GRPCError) -> GRPCError:
    """The guard's refusal of a message that is missing or cannot be read, with a reason as all our errors have."""
    if error.details or error.status is not Status.INVALID_ARGUMENT:
        return error
    return fault(error.status, "INVALID_MESSAGE", error.message or "", domain=DOMAIN)


def _request_id(told: Any) -> str:
    """The caller's own, if it can stand in a log; else a new one."""
    return told if isinstance(told, str) and _REQUEST_ID.fullmatch(told) else token_hex(8)


def _stopping() -> ShuttingDown:
    return ShuttingDown("this server is stopping: connect again")


def _key(authorization: Any) -> str:
    """The API key of "Bearer <key>". Raises Unauthenticated."""
    scheme, _, key = str(authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Unauthenticated("send your API key as metadata: authorization: Bearer <key>")
    return key.strip()
