"""Holds what is counted and timed as it happens, reads what is asked for at the scrape, and writes both as text.

A registry of its own, none that is shared by the process. The only file that knows the vendor.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric as Family

from gollem.observability.metrics import EVERY, READS_FAILED, Kind, Metric

_log = logging.getLogger(__name__)
CONTENT_TYPE = CONTENT_TYPE_LATEST
disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, which nobody asks for


@dataclass(frozen=True, slots=True)
class Sample:
    """A figure as it is now, its labels in the metric's order. `value` is in the metric's unit."""

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()


Source = Callable[[], Iterable[Sample]]


class Meters:
    """Lives on one event loop, which reads its state between two events: no locks are needed."""

    def __init__(self, metrics: Iterable[Metric] = EVERY) -> None:
        self._registry = CollectorRegistry()
        self._sources: dict[str, Source] = {}
        self._counted: dict[Metric, Counter] = {}
        self._timed: dict[Metric, Histogram] = {}
        self._metrics = tuple(metrics)
        ProcessCollector(registry=self._registry)
        self._registry.register(_Read(self))

    def count(self, metric: Metric, *labels: str, by: int = 1) -> None:
        """It has happened once more."""
        counter = self._counted.get(metric)
        if counter is None:
            counter = self._counted[metric] = Counter(metric.name, metric.about, metric.labels, registry=self._registry)
        (counter.labels(*labels) if labels else counter).inc(by)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """It was this long or large, in the metric's unit."""
        histogram = self._timed.get(metric)
        if histogram is None:
            histogram = self._timed[metric] = Histogram(
                metric.name, metric.about, metric.labels, registry=self._registry, buckets=metric.buckets
            )
        (histogram.labels(*labels) if labels else histogram).observe(value)

    def read_from(self, name: str, source: Source) -> None:
        """Ask this source at every scrape. One that fails is counted and leaves its figures out, no others."""
        self._sources[name] = source

    def read(self) -> Iterator[Sample]:
        """What every source says now."""
        for name, source in self._sources.items():
            try:
                yield from list(source())
            except Exception:
                _log.exception("figures of %s could not be read", name)
                self.count(READS_FAILED, name)

    def render(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)


class _Read:
    """What the vendor asks for figures that are read."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def describe(self) -> Iterable[Family]:
        return ()

    def collect(self) -> Iterable[Family]:
        families: dict[Metric, Family] = {}
        for sample in self._meters.read():
            metric = sample.metric
            family = families.get(metric)
            if family is None:
                kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
                family = families[metric] = kind(metric.name, metric.about, labels=metric.labels)
            family.add_metric(sample.labels, sample.value)  # type: ignore[attr-defined]
        return families.values()
