"""This node among the others, and what waits inside of it."""

from collections.abc import Callable, Iterable, Mapping

from gollem.nodes import SharedBook
from gollem.observability import Sample, metrics


def shared_book(shared: SharedBook) -> Iterable[Sample]:
    status = shared.status()
    yield Sample(metrics.SHARED_DEGRADED, status.degraded)
    yield Sample(metrics.SHARED_LAG, status.lag_ms / 1_000)
    yield Sample(metrics.SHARED_OWN, status.asks)
    yield Sample(metrics.SHARED_WAITING, status.waiting)
    yield Sample(metrics.SHARED_REBUILT, status.rebuilt)
    for outcome in ("dropped", "passed_over"):
        yield Sample(metrics.SHARED_CHANGES, getattr(status, outcome), (outcome,))
    for outcome in ("granted", "granted_alone", "refused"):
        yield Sample(metrics.CLAIMS, getattr(status, outcome), (outcome,))


def queues(lengths: Mapping[str, Callable[[], int]]) -> Iterable[Sample]:
    for name, length in lengths.items():
        yield Sample(metrics.QUEUE, length(), (name,))
