"""Every object of the fake, by id, in the order it was made; and how objects are shown: expanded, and in pages."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from operator import ge, gt, le, lt
from typing import Any

from gollem.clock import Clock
from tests.fakes.stripe.errors import invalid, missing
from tests.fakes.stripe.request import Request

Object = dict[str, Any]
Keep = Callable[[Object], bool]
MAX_PAGE = 100
_HOLDS: dict[str, Callable[[int, int], bool]] = {"gte": ge, "gt": gt, "lte": le, "lt": lt}
_MAX_DEPTH = 4
_OF_NO_MODE = ("account", "balance_transaction", "bank_account", "refund", "transfer_reversal", "account_link")
# What is stored as ids and always shown whole.
_ALWAYS_SHOWN = {
    "dispute": ["balance_transactions"],
    "transfer": ["reversals.data"],
    "account": ["external_accounts.data"],
}


class Store:
    """Objects belong to the platform (`account` is empty) or to a connected account; ids are unique over both."""

    def __init__(self, clock: Clock, *, livemode: bool) -> None:
        self._clock = clock
        self.livemode = livemode
        self.lists_lag_s = 0  # how old an object is before lists show it
        self._by_id: dict[str, Object] = {}
        self._place: dict[str, tuple[str, str]] = {}
        self._in_order: dict[tuple[str, str], list[Object]] = defaultdict(list)

    def make(self, kind: str, prefix: str, account: str = "", /, **fields: Any) -> Object:
        object_id = f"{prefix}_{len(self._by_id) + 1:014d}"
        made = {"id": object_id, "object": kind, "created": self.now_s()} | fields
        if kind not in _OF_NO_MODE:
            made["livemode"] = self.livemode
        self._by_id[object_id] = made
        self._place[object_id] = (kind, account)
        self._in_order[kind, account].append(made)
        return made

    def find(self, kind: str, object_id: str, account: str = "", param: str = "id") -> Object:
        if self._place.get(object_id) != (kind, account):
            raise missing(kind, object_id, param)
        return self._by_id[object_id]

    def remove(self, object_id: str) -> None:
        """Nobody finds it any more."""
        self._in_order[self._place.pop(object_id)].remove(self._by_id[object_id])

    def account_of(self, object_id: str) -> str:
        return self._place[object_id][1]

    def all(self, kind: str, account: str = "") -> list[Object]:
        """Oldest first."""
        return list(self._in_order[kind, account])

    def now_s(self) -> int:
        return self._clock.now_ms() // 1000

    def show(self, thing: Object, expand: Sequence[str] = ()) -> Object:
        """A copy for the wire, or as it is now for an event."""
        shown = deepcopy(thing)
        for path in (*_ALWAYS_SHOWN.get(thing["object"], ()), *expand):
            self._expand(shown, path.split("."), path)
        return shown

    def page(
        self, request: Request, kind: str, filters: str = "", keep: Keep = lambda _: True, *, also: str = ""
    ) -> Object:
        """Newest first, of those to `keep`: those whose `filters` are as the request wants them. `also` are parameters
        that `keep` looks after."""
        request.allow(f"{filters} {also} created limit starting_after")
        limit = request.number("limit", 10, least=1, most=MAX_PAGE)
        wanted = {name: request.text(name) for name in filters.split() if name in request.params}
        found = [
            thing
            for thing in self._from_page_on(request, kind)
            if keep(thing) and _is_created_within(thing, request) and wanted.items() <= thing.items()
        ]
        data = [self.show(thing) for thing in found[:limit]]
        listed = {"object": "list", "url": request.path, "has_more": len(found) > limit, "data": data}
        for path in request.expand:
            self._expand(listed, path.split("."), path)
        return listed

    def _from_page_on(self, request: Request, kind: str) -> list[Object]:
        """Newest first; after the one that the page before ended with, whether or not that would be kept."""
        until_s = self.now_s() - self.lists_lag_s
        things = [thing for thing in self._in_order[kind, request.account][::-1] if thing["created"] <= until_s]
        if "starting_after" not in request.params:
            return things
        last = self.find(kind, request.text("starting_after"), request.account, "starting_after")
        return things[things.index(last) + 1 :]

    def _expand(self, node: Any, parts: list[str], path: str) -> None:
        if len(parts) > _MAX_DEPTH:
            raise invalid(f"You cannot expand more than {_MAX_DEPTH} levels of a property: {path}", "expand")
        if isinstance(node, list):
            for item in node:
                self._expand(item, parts, path)
        elif isinstance(node, dict) and parts:
            if parts[0] not in node:
                raise invalid(f"This property cannot be expanded ({path}).", "expand")
            node[parts[0]] = self._whole(node[parts[0]])
            self._expand(node[parts[0]], parts[1:], path)

    def _whole(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._whole(item) for item in value]
        if isinstance(value, str) and value in self._by_id:
            return self.show(self._by_id[value])
        return value


def _is_created_within(thing: Object, request: Request) -> bool:
    given = request.params.get("created", {})
    bounds = given if isinstance(given, dict) else {"gte": given, "lte": given}
    return all(_HOLDS[name](thing["created"], int(bound_s)) for name, bound_s in bounds.items())
