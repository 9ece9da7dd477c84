"""What is counted, timed and read comes out as Prometheus's text; what is defined keeps its conventions."""

import re

from prometheus_client.parser import text_string_to_metric_families

from gollem.observability import Meters, Sample, metrics
from gollem.observability.metrics import EVERY, Kind, Metric

UNITS = (
    "_seconds", "_credits", "_usd", "_ratio", "_total", "_tokens", "_orders", "_asks", "_slots", "_changes", "_info",
    "_tokens_per_second", "_length", "_state", "_waiting", "_open", "_overdue", "_alerts", "_flight",
)  # fmt: skip
# Of these, the name says what is counted, or that it is 1 or 0.
PLAIN = {
    "gollem_asks_blocked", "gollem_payouts", "gollem_payouts_halted", "gollem_reconciliation_ok", "gollem_ready",
    "gollem_shared_book_degraded",
}  # fmt: skip


def figures(meters: Meters) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = meters.render().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_names_units_and_help_keep_the_conventions() -> None:
    assert len({metric.name for metric in EVERY}) == len(EVERY) > 50
    for metric in EVERY:
        assert re.fullmatch(r"gollem_[a-z0-9]+(_[a-z0-9]+)*", metric.name), metric
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric
        assert metric.name.endswith(UNITS) or metric.name in PLAIN, metric
        assert metric.about.endswith("."), metric
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM), metric
        assert not {"user", "account_id", "key", "order", "order_id"} & set(metric.labels), metric


def test_counted_timed_and_read() -> None:
    meters = Meters()
    meters.count(metrics.LEDGER_CALLS, "post", "ok", by=3)
    meters.observe(metrics.LEDGER_SECONDS, 0.003, "post")
    meters.observe(metrics.LOOP_LAG, 0.2)
    meters.read_from("test", lambda: [Sample(metrics.ASKS, 7), Sample(metrics.BOOK_DEPTH, 2, ("m", "ask"))])
    found = figures(meters)
    assert found["gollem_ledger_operations_total", (("operation", "post"), ("outcome", "ok"))] == 3
    bucket = "gollem_ledger_operation_duration_seconds_bucket"
    assert found[bucket, (("le", "0.0025"), ("operation", "post"))] == 0
    assert found[bucket, (("le", "0.005"), ("operation", "post"))] == 1
    assert found["gollem_event_loop_lag_seconds_count", ()] == 1
    assert found["gollem_asks", ()] == 7
    assert found["gollem_book_depth_orders", (("model", "m"), ("side", "ask"))] == 2


def test_a_source_that_fails_takes_only_its_own_figures_with_it() -> None:
    def broken() -> list[Sample]:
        raise ValueError("broken")

    meters = Meters()
    meters.read_from("broken", broken)
    meters.read_from("sound", lambda: [Sample(metrics.ASKS, 1)])
    assert figures(meters)["gollem_asks", ()] == 1
    assert figures(meters)["gollem_reads_failed_total", (("source", "broken"),)] >= 1


def test_registries_are_apart() -> None:
    metric = Metric("gollem_x_total", Kind.COUNTER, "X.")
    for _ in range(2):  # a registry of the process would refuse the same name twice
        meters = Meters()
        meters.count(metric)
        assert figures(meters)["gollem_x_total", ()] == 1
