"""What is told of the exchange to those who watch it: metrics, health, logs and traces, in one place."""

from gollem.observability import metrics, traces
from gollem.observability.emf import Emf
from gollem.observability.http_door import HttpDoor
from gollem.observability.logs import logging_as, note, noted
from gollem.observability.loop_lag import watch_loop
from gollem.observability.meters import Meters, Sample
from gollem.observability.metrics import Metric
from gollem.observability.readiness import Phase, Readiness

__all__ = [
    "Emf",
    "HttpDoor",
    "Meters",
    "Metric",
    "Phase",
    "Readiness",
    "Sample",
    "logging_as",
    "metrics",
    "note",
    "noted",
    "traces",
    "watch_loop",
]
