"""What came from the payment provider, and what became of it."""

from collections.abc import Iterable, Mapping

from gollem.observability import Sample, metrics


def events(webhooks: Mapping[str, int], handled: Mapping[str, int]) -> Iterable[Sample]:
    for outcome, count in webhooks.items():
        yield Sample(metrics.WEBHOOKS, count, (outcome,))
    for state, count in handled.items():
        yield Sample(metrics.PAYMENT_EVENTS, count, (state,))
