"""Changes as text: small arrays of JSON, with the number of their form.

During a rolling deploy two versions read each other. A reader ignores what stands behind the parts it knows, and passes
over changes of a kind, and texts of a number, that it does not know. So a part may be added at the end of an array, or
a field to an ask, under the same number; what means something else takes a new one.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from gollem.market import Ask
from gollem.nodes.types import (
    Began,
    CancelAsked,
    Change,
    Contested,
    Ended,
    Ending,
    FailureReported,
    FailureRetracted,
    Heard,
    Placed,
    Removed,
    Sampled,
    Sent,
    Spent,
)
from gollem.providers import Gauge, Promise

FORM = 1
_ASK = tuple(field.name for field in fields(Ask))
# Whatever is wrong with a text that is none of ours.
_MALFORMED = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one node sent at once; `passed_over` counts what was in no form known here."""

    sender: str
    changes: tuple[Change, ...]
    passed_over: int = 0


_NOTHING = Batch("", (), passed_over=1)


def encode(change: Change) -> str:
    """One change, to stand in a `batch`."""
    return json.dumps(_parts(change), separators=(",", ":"))


def batch(sender: str, encoded: Iterable[str]) -> str:
    """The text of changes that go together."""
    return f"[{FORM},{json.dumps(sender)},[{','.join(encoded)}]]"


def decode(text: str, age_ms: int) -> Batch:
    """The batch that was sent `age_ms` ago. Never raises."""
    try:
        form, sender, items = json.loads(text)[:3]
        if form != FORM:
            return _NOTHING
        changes = [_change(item, age_ms) for item in items]
    except _MALFORMED:
        return _NOTHING
    known = tuple(change for change in changes if change is not None)
    return Batch(str(sender), known, len(changes) - len(known))


def _parts(change: Change) -> list[Any]:
    match change:
        case Placed(ask, per_minute, age_ms):
            return ["placed", asdict(ask), per_minute, age_ms]
        case Heard(key, model, sequence, promise, gauge, age_ms):
            figures = [promise.latency_us, promise.tpot_ns, promise.capacity_tokens, promise.capacity_slots]
            return ["heard", key, model, sequence, figures, [gauge.running, gauge.queued, gauge.gpus], age_ms]
        case Removed(key, model):
            return ["removed", key, model]
        case Sampled(key, model, latency_us, tpot_ns):
            return ["sampled", key, model, latency_us, tpot_ns]
        case Sent(key, model, order_id, tokens):
            return ["sent", key, model, order_id, tokens]
        case Began(key, model, order_id):
            return ["began", key, model, order_id]
        case Ended(key, model, order_id, ending):
            return ["ended", key, model, order_id, ending.value]
        case FailureReported(key, model, order_id):
            return ["failed", key, model, order_id]
        case FailureRetracted(key, model, order_id):
            return ["retracted", key, model, order_id]
        case CancelAsked(key, model, order_id):
            return ["cancel", key, model, order_id]
        case Contested(key, model, user):
            return ["contested", key, model, user]
        case Spent(account, calls, asked):
            return ["spent", account, calls, asked]


def _change(item: Any, age_ms: int) -> Change | None:
    """None for a kind that is not known, or a known one that cannot be read."""
    try:
        read = _READ.get(item[0])
        return read(item, age_ms) if read else None
    except _MALFORMED:
        return None


def _placed(item: Any, age_ms: int) -> Change:
    return Placed(Ask(**{name: item[1][name] for name in _ASK}), item[2], age_ms + item[3])


def _heard(item: Any, age_ms: int) -> Change:
    running, queued, gpus = item[5][:3]
    gauge = Gauge(running, queued, tuple(tuple(gpu[:4]) for gpu in gpus))
    return Heard(item[1], item[2], item[3], Promise(*item[4][:4]), gauge, age_ms + item[6])


_READ: dict[str, Callable[[Any, int], Change]] = {
    "placed": _placed,
    "heard": _heard,
    "removed": lambda item, _: Removed(item[1], item[2]),
    "sampled": lambda item, _: Sampled(item[1], item[2], item[3], item[4]),
    "sent": lambda item, _: Sent(item[1], item[2], item[3], item[4]),
    "began": lambda item, _: Began(item[1], item[2], item[3]),
    "ended": lambda item, _: Ended(item[1], item[2], item[3], Ending(item[4])),
    "failed": lambda item, _: FailureReported(item[1], item[2], item[3]),
    "retracted": lambda item, _: FailureRetracted(item[1], item[2], item[3]),
    "cancel": lambda item, _: CancelAsked(item[1], item[2], item[3]),
    "contested": lambda item, _: Contested(item[1], item[2], item[3]),
    "spent": lambda item, _: Spent(str(item[1]), int(item[2]), int(item[3])),
}
