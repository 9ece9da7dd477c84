"""Providers as they are watched: a bounded number each for itself, the rest together as `other`, at its worst."""

from collections.abc import Iterable, Iterator
from itertools import islice

from gollem.observability import Metric, Sample, metrics
from gollem.providers import CircuitState, Registry, Seller

_OTHERS_READ = 1_000  # of those together, so many are looked at: a scrape must not hold up the event loop
_US, _NS, _MS = 1e6, 1e9, 1e3


def sellers(registry: Registry, now_ms: int, max_series: int) -> Iterable[Sample]:
    """Figures by provider and model: the first `max_series` pairs, those who came first, have labels of their own."""
    statistics = registry.statistics()
    yield Sample(metrics.ASKS, statistics.asks)
    for reason, count in statistics.blocked.items():
        yield Sample(metrics.ASKS_BLOCKED, count, (reason.value,))
    worst: dict[tuple[Metric, tuple[str, ...]], float] = {}
    for labels, seller in _labelled(registry, max_series):
        for sample in _figures(seller, now_ms, labels):
            key = sample.metric, sample.labels
            pick = min if sample.metric is metrics.PROVIDER_THROUGHPUT else max  # of asks that share labels, the worst
            worst[key] = pick(worst.get(key, sample.value), sample.value)
    for (metric, of), value in worst.items():
        yield Sample(metric, value, of)
    yield from _circuits(registry, now_ms, max_series)


def _labelled(registry: Registry, max_series: int) -> Iterator[tuple[tuple[str, str], Seller]]:
    known: set[tuple[str, str]] = set()
    everybody = (seller for provider in registry.providers() for seller in registry.sellers_of(provider))
    for seller in islice(everybody, max_series + _OTHERS_READ):
        pair = seller.provider_id, seller.offering.partition("/")[0]
        if pair not in known and len(known) >= max_series:
            pair = metrics.OTHER, metrics.OTHER
        known.add(pair)
        yield pair, seller


def _figures(seller: Seller, now_ms: int, labels: tuple[str, str]) -> Iterable[Sample]:
    _, tpot_ns, _ = seller.figures
    yield Sample(metrics.PROVIDER_PROMISED, seller.promise.latency_us / _US, labels)
    yield Sample(metrics.PROVIDER_THROUGHPUT, _NS / max(tpot_ns, 1), labels)
    yield Sample(metrics.PROVIDER_HEARD, max(now_ms - seller.heard_at_ms, 0) / _MS, labels)
    yield Sample(metrics.PROVIDER_MATCHED, seller.matched, labels)
    if seller.gauge.running is not None:
        yield Sample(metrics.PROVIDER_RUNNING, seller.gauge.running, labels)
    if seller.window is not None:
        rate = seller.window.status(now_ms)
        yield Sample(metrics.PROVIDER_RATE, 1 - rate.remaining / max(rate.limit, 1), labels)
    if (measured := seller.samples.measured()) is not None:
        quantiles = (measured.latency_p50_us, measured.latency_p95_us, measured.latency_p99_us)
        for quantile, value_us in zip(("0.5", "0.95", "0.99"), quantiles, strict=True):
            yield Sample(metrics.PROVIDER_LATENCY, value_us / _US, (*labels, quantile))


def _circuits(registry: Registry, now_ms: int, max_series: int) -> Iterable[Sample]:
    """The others' are counted in `gollem_asks_blocked`."""
    for provider in islice(registry.providers(), max_series):
        status = registry.circuit(provider, now_ms)
        for state in CircuitState:
            is_in = status is not None and status.state is state
            yield Sample(metrics.PROVIDER_CIRCUIT, is_in, (provider, state.value))
