"""Holds what is counted and timed as it happens, reads what is asked for at the scrape, and writes both as text.

A registry of its own, none that is shared by the process. The only file that knows the vendor.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric as Family

from gollem.observability.metrics import READS_FAILED, Kind, Metric

_log = logging.getLogger(__name__)
CONTENT_TYPE = CONTENT_TYPE_LATEST
disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, which nobody asks for


@dataclass(frozen=True, slots=True)
class Sample:
    """A figure as it is now, its labels in the metric's order. `value` is in the metric's unit."""

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()


class Totals:
    """What every series was at one moment, by its name and labels."""

    def __init__(self, values: Mapping[tuple[str, frozenset[tuple[str, str]]], float]) -> None:
        self._values = values

    def sum(self, name: str, **labels: str | tuple[str, ...]) -> float:
        """Over the series of this name that have these labels, each one of the values."""
        wanted = {label: (value,) if isinstance(value, str) else value for label, value in labels.items()}
        return sum(
            value
            for (series, found), value in self._values.items()
            if series == name and all(dict(found).get(label) in values for label, values in wanted.items())
        )

    def count(self, name: str, value: float) -> int:
        """Series of this name with this value."""
        return sum(series == name and found == value for (series, _), found in self._values.items())

    def since(self, before: "Totals") -> "Totals":
        """How much each has grown."""
        return Totals({series: value - before._values.get(series, 0) for series, value in self._values.items()})


Source = Callable[[], Iterable[Sample]]


class Meters:
    """Lives on one event loop, which reads its state between two events: no locks are needed."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._sources: dict[str, Source] = {}
        self._vendors: dict[str, Counter | Histogram] = {}
        self._series: dict[tuple[str, tuple[str, ...]], Any] = {}
        ProcessCollector(registry=self._registry)
        self._registry.register(_Read(self))

    def count(self, metric: Metric, *labels: str, by: int = 1) -> None:
        """It has happened once more."""
        (self._series.get((metric.name, labels)) or self._begin(metric, labels)).inc(by)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """It was this long or large, in the metric's unit."""
        (self._series.get((metric.name, labels)) or self._begin(metric, labels)).observe(value)

    def _begin(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        """The series of these labels. The vendor looks it up more slowly, and checks each label each time."""
        whole = self._vendors.get(metric.name)
        if whole is None:
            if metric.kind is Kind.COUNTER:
                whole = Counter(metric.name, metric.about, metric.labels, registry=self._registry)
            else:
                buckets = metric.buckets
                whole = Histogram(metric.name, metric.about, metric.labels, registry=self._registry, buckets=buckets)
            self._vendors[metric.name] = whole
        series = self._series[metric.name, labels] = whole.labels(*labels) if labels else whole
        return series

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

    def totals(self) -> Totals:
        """All of it, as it is now."""
        samples = (sample for family in self._registry.collect() for sample in family.samples)
        return Totals({(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples})

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
