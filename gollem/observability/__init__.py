"""What is told of the exchange to those who watch it: metrics, health, logs and traces, in one place."""

from gollem.observability import metrics
from gollem.observability.http_door import HttpDoor
from gollem.observability.loop_lag import watch_loop
from gollem.observability.meters import Meters, Sample
from gollem.observability.metrics import Metric
from gollem.observability.readiness import Phase, Readiness

__all__ = ["HttpDoor", "Meters", "Metric", "Phase", "Readiness", "Sample", "metrics", "watch_loop"]
