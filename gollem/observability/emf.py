"""Figures for CloudWatch, a line of the log each minute in its embedded metric format: the agent there reads them out.

The format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gollem.clock import Clock
from gollem.observability import logs, metrics
from gollem.observability.meters import Meters, Totals
from gollem.observability.metrics import Metric

_log = logging.getLogger(__name__)
_log.setLevel(logging.INFO)  # whatever else is logged: these are figures
NAMESPACE, SERVICE = "GoLLeM", "exchange"
_OWN_FAULT = ("UNKNOWN", "INTERNAL", "UNAVAILABLE")
_OTHERS_FAULT = ("PROVIDER_FAILED", "SHUTTING_DOWN")

Value = Callable[[Totals], float]


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` of a count is since the line before, of anything else as it is now."""

    name: str
    unit: str
    value: Value


def _sum(metric: Metric, **labels: str | tuple[str, ...]) -> Value:
    return lambda totals: totals.sum(metric.name, **labels)


def _mean_ms(metric: Metric) -> Value:
    def mean(totals: Totals) -> float:
        count = totals.sum(f"{metric.name}_count")
        return 1_000 * totals.sum(f"{metric.name}_sum") / count if count else 0.0

    return mean


def _failed(metric: Metric) -> Value:
    return lambda totals: totals.sum(metric.name) - totals.sum(metric.name, outcome="ok")


def _all(*values: Value) -> Value:
    return lambda totals: sum(value(totals) for value in values)


def _own_faults(totals: Totals) -> float:
    """As the recording rules have it: what a provider, or a server that stops, brings about is none."""
    name = metrics.RPC_CALLS.name
    return totals.sum(name, code=_OWN_FAULT) - totals.sum(name, code=_OWN_FAULT, reason=_OTHERS_FAULT)


COUNTED = (
    Figure("Invocations", "Count", _sum(metrics.RPC_CALLS)),
    Figure("Errors", "Count", _own_faults),
    Figure("Duration", "Milliseconds", _mean_ms(metrics.RPC_SECONDS)),
    Figure("Requests", "Count", _all(_sum(metrics.MATCHES), _sum(metrics.REFUSALS))),
    Figure("Matches", "Count", _sum(metrics.MATCHES)),
    Figure("Refusals", "Count", _sum(metrics.REFUSALS)),
    Figure("RedisOperations", "Count", _sum(metrics.REDIS_CALLS)),
    Figure("RedisErrors", "Count", _failed(metrics.REDIS_CALLS)),
    Figure("RedisLatency", "Milliseconds", _mean_ms(metrics.REDIS_SECONDS)),
    Figure("LedgerOperations", "Count", _sum(metrics.LEDGER_CALLS)),
    Figure(
        "LedgerErrors",
        "Count",
        _sum(metrics.LEDGER_CALLS, outcome=("LEDGER_UNAVAILABLE", "OUTCOME_UNKNOWN", "INTERNAL")),
    ),
    Figure("LedgerLatency", "Milliseconds", _mean_ms(metrics.LEDGER_SECONDS)),
    Figure("PaymentsSucceeded", "Count", _sum(metrics.TRANSACTIONS, kind="purchase")),
    Figure("PaymentsCancelled", "Count", _sum(metrics.TRANSACTIONS, kind="purchase_cancelled")),
)
NOW = (
    Figure("LowBalanceAlerts", "Count", _sum(metrics.LOW_BALANCES)),
    Figure("PaymentEventsDead", "Count", _sum(metrics.EVENTS_WAITING, state="dead")),
    Figure("WebhookLag", "Seconds", _sum(metrics.WEBHOOK_LAG)),
    Figure("PayoutsHalted", "Count", _sum(metrics.PAYOUTS_HALTED)),
    Figure("ReconciliationBreaks", "Count", lambda totals: totals.count(metrics.RECONCILED.name, 0)),
    Figure("AlertsOpen", "Count", _sum(metrics.ALERTS_OPEN)),
    Figure("HoldsOverdue", "Count", _sum(metrics.HOLDS_OVERDUE)),
    Figure("SharedBookDegraded", "Count", _sum(metrics.SHARED_DEGRADED)),
    Figure("SharedBookLag", "Seconds", _sum(metrics.SHARED_LAG)),
    Figure("AsksLive", "Count", _sum(metrics.BOOK_DEPTH, side="ask")),
    Figure("Ready", "Count", _sum(metrics.READY)),
)


class Emf:
    """`step` writes a line. `node` tells apart the servers that log to one group; it is no dimension."""

    def __init__(self, meters: Meters, clock: Clock, node: str) -> None:
        self._meters = meters
        self._clock = clock
        self._node = node
        self._before = meters.totals()

    async def step(self) -> None:
        logs.write_line(_log, self.line())

    def line(self) -> Mapping[str, object]:
        totals = self._meters.totals()
        since, self._before = totals.since(self._before), totals
        values = {figure.name: figure.value(since) for figure in COUNTED}
        values |= {figure.name: figure.value(totals) for figure in NOW}
        told = [{"Name": figure.name, "Unit": figure.unit} for figure in (*COUNTED, *NOW)]
        directive = {"Namespace": NAMESPACE, "Dimensions": [["Service"]], "Metrics": told}
        head = {"Timestamp": self._clock.now_ms(), "CloudWatchMetrics": [directive]}
        return {"_aws": head, "Service": SERVICE, "Node": self._node, **values}
