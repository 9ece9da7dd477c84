"""What DynamoDB does and DynamoDB Local never does, thrown from botocore's own hooks: conflicts, throttling, 500s."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from gollem.ledger.dynamodb.client import Client

Hook = Callable[[], Awaitable[object]]
WRITE = "TransactWriteItems"


def error(code: str, status: int = 400) -> dict[str, Any]:
    """A reply of DynamoDB's, as botocore parses it."""
    return {"Error": {"Code": code, "Message": "injected"}, "ResponseMetadata": {"HTTPStatusCode": status}}


def cancelled(*reasons: str) -> dict[str, Any]:
    """A cancelled transaction; "" for a write that had no objection."""
    listed = [{"Code": reason or "None"} for reason in reasons]
    return error("TransactionCanceledException") | {"CancellationReasons": listed}


class Faults:
    """Plans, by operation, what the next calls meet; counts every call that is made."""

    def __init__(self, client: Client) -> None:
        self._before: dict[str, list[dict[str, Any] | Exception | Hook]] = {}
        self._after: dict[str, list[Exception | Hook]] = {}
        self.calls: list[str] = []
        self.tokens: list[str] = []
        self.items: list[int] = []
        client.events.register("before-parameter-build.dynamodb", self._note)
        client.events.register("before-call.dynamodb", self._before_call)
        client.events.register("after-call.dynamodb", self._after_call)

    def answer(self, fault: dict[str, Any] | Exception | Hook, times: int = 1, operation: str = WRITE) -> None:
        """Instead of the call: a reply, or an error; or do something, then call."""
        self._before.setdefault(operation, []).extend([fault] * times)

    def lose_reply(self, fault: Exception | Hook, times: int = 1, operation: str = WRITE) -> None:
        """After the call was done: its reply does not arrive."""
        self._after.setdefault(operation, []).extend([fault] * times)

    @property
    def writes(self) -> int:
        return self.calls.count(WRITE)

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls.append(model.name)
        if model.name == WRITE:
            self.tokens.append(params["ClientRequestToken"])
            self.items.append(len(params["TransactItems"]))

    async def _before_call(self, model: Any, **_: Any) -> object:
        planned = self._before.get(model.name)
        return await _happen(planned.pop(0)) if planned else None

    async def _after_call(self, model: Any, **_: Any) -> None:
        planned = self._after.get(model.name)
        if planned:
            await _happen(planned.pop(0))


async def _happen(fault: dict[str, Any] | Exception | Hook) -> object:
    if isinstance(fault, Exception):
        raise fault
    if isinstance(fault, dict):
        return SimpleNamespace(status_code=fault["ResponseMetadata"]["HTTPStatusCode"]), fault
    await fault()
    return None
