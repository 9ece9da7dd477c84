"""From a request as it came to the reply as it goes: who asks, under which key, what befalls it. Without a socket."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gollem.clock import Clock
from tests.fakes.stripe.errors import (
    ConnectionLostError,
    RefusalError,
    broken,
    missing,
    no_access,
    rate_limited,
    unauthorised,
)
from tests.fakes.stripe.faults import Fault, Faults
from tests.fakes.stripe.forms import parse_form
from tests.fakes.stripe.idempotency import IdempotencyKeys, Reply
from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object
from tests.fakes.stripe.world import Routes, World

_ID = "{id}"


class Api:
    """`answer` is all of it. `calls` are the routes in the order they were asked for, lost requests left out."""

    def __init__(self, clock: Clock, world: World, routes: Routes, secret_key: str) -> None:
        self._world = world
        self._routes = routes
        self._patterns = [(re.compile(re.escape(route).replace(re.escape(_ID), "([^/ ]+)")), route) for route in routes]
        self._secret_key = secret_key
        self._keys = IdempotencyKeys(clock)
        self.faults = Faults(routes)
        self.calls: list[str] = []

    async def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """Raises ConnectionLostError when there is none. `headers` have their names in lower case."""
        try:
            return await self._answer(self._read(method, target, headers, body))
        except RefusalError as refusal:
            return _refusal(refusal)

    def _read(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Request:
        parts = urlsplit(target)
        route, ids = self._match(f"{method} {parts.path}")
        if _secret(headers.get("authorization", "")) != self._secret_key:
            raise unauthorised()
        account = headers.get("stripe-account", "")
        if account:
            self._check_access(account)
        params = parse_form(body.decode() if method == "POST" else parts.query)
        key = headers.get("idempotency-key", "") if method == "POST" else ""
        return Request(route, parts.path, params, account, key, ids)

    def _match(self, asked: str) -> tuple[str, tuple[str, ...]]:
        for pattern, route in self._patterns:
            if match := pattern.fullmatch(asked):
                return route, match.groups()
        raise missing("route", asked)

    def _check_access(self, account: str) -> None:
        try:
            self._world.store.find("account", account)
        except RefusalError as absent:
            raise no_access(account) from absent

    async def _answer(self, request: Request) -> Reply:
        is_replay = bool(request.key) and self._keys.is_known(request.account, request.key)
        fault = self.faults.take(request.route, is_replay=is_replay)
        if fault is Fault.LOST_REQUEST:
            raise ConnectionLostError
        self.calls.append(request.route)
        if fault is Fault.RATE_LIMITED:
            raise rate_limited()
        reply = await self._once(request, fault)
        if fault is Fault.SILENT:
            await self.faults.wait()
        if fault in (Fault.LOST_REPLY, Fault.SILENT):
            raise ConnectionLostError
        return reply

    async def _once(self, request: Request, fault: Fault | None) -> Reply:
        if not request.key:
            return (await self._execute(request, fault))[0]
        known = self._keys.begin(request.account, request.key, request.path, request.params)
        if known is not None:
            return Reply(known.status, known.body, {**known.headers, "Idempotent-Replayed": "true"})
        reply, is_stored = await self._execute(request, fault)
        if is_stored:
            self._keys.keep(request.account, request.key, reply)
        else:
            self._keys.forget(request.account, request.key)
        return reply

    async def _execute(self, request: Request, fault: Fault | None) -> tuple[Reply, bool]:
        """The reply, and whether it is kept under the key."""
        if fault is Fault.SLOW:
            await self.faults.wait()
        try:
            if fault is Fault.ERROR_BEFORE:
                raise broken()
            done = self._shown(self._routes[request.route](request), request)
            if fault is Fault.ERROR_AFTER:
                raise broken()
        except RefusalError as refusal:
            return _refusal(refusal), refusal.is_stored
        return _reply(200, done), True

    def _shown(self, thing: Object, request: Request) -> Object:
        """Lists, and what has no id, are made for the request and shown as they are."""
        return self._world.store.show(thing, request.expand) if "id" in thing else thing


def _refusal(refusal: RefusalError) -> Reply:
    # A 500 is kept under its key: asking again at once is of no use, and Stripe says so.
    headers = {"Stripe-Should-Retry": "false"} if refusal.status >= 500 else {}
    return _reply(refusal.status, refusal.body, headers)


def _reply(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(body, indent=2).encode(), headers or {})


def _secret(authorization: str) -> str:
    """The key of `Bearer KEY`, or of `Basic` with the key as its user."""
    scheme, _, value = authorization.partition(" ")
    if scheme == "Basic":
        try:
            return base64.b64decode(value).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return value
