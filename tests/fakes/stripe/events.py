"""What the fake tells: events, listed for 30 days and handed to the webhooks."""

from collections import deque
from collections.abc import Callable
from typing import Any

from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object, Store

API_VERSION = "2026-10-28.endive"
_LISTED_S = 30 * 86_400


class Events:
    """`undelivered` are those no webhook has told yet, oldest first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.undelivered: deque[Object] = deque()

    def tell(self, kind: str, thing: Object, account: str = "") -> None:
        """Something happened to the object, which goes along as it is now."""
        event = self._store.make("event", "evt", account, **self.fields(kind, self._store.show(thing), account))
        self.undelivered.append(event)

    def fields(self, kind: str, thing: Object, account: str = "") -> dict[str, Any]:
        fields: dict[str, Any] = {
            "type": kind,
            "api_version": API_VERSION,
            "data": {"object": thing},
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
        }
        return fields | ({"account": account} if account else {})

    # --- endpoints

    def routes(self) -> dict[str, Callable[[Request], Object]]:
        return {"GET /v1/events": self._list, "GET /v1/events/{id}": self._retrieve}

    def _list(self, request: Request) -> Object:
        types = request.params.get("types", [])
        since_s = self._store.now_s() - _LISTED_S

        def keep(event: Object) -> bool:
            return event["created"] >= since_s and (not types or event["type"] in types)

        return self._store.page(request, "event", "type", keep, also="types")

    def _retrieve(self, request: Request) -> Object:
        return self._store.find("event", request.path_ids[0], request.account)
