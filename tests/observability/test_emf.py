"""What is written for CloudWatch keeps the embedded metric format, and says what has happened since the line before."""

import io
import json
from pathlib import Path

from gollem.config import load
from gollem.observability import Emf, Meters, Sample, logging_as, metrics
from gollem.observability.emf import COUNTED, NOW
from tests.fakes.clock import FakeClock

UNITS = {"Count", "Seconds", "Milliseconds", "Percent", "Bytes", "Count/Second", "None"}
PAGE = (Path(__file__).parents[2] / "docs" / "watch.md").read_text()


async def test_a_line_of_the_log_in_the_form_that_is_specified() -> None:
    stream, clock, meters = io.StringIO(), FakeClock(), Meters()
    for form in ("text", "json"):
        settings = {"observability.log": form, "observability.level": "error"}  # which are not asked here
        with logging_as(load(overrides=settings).observability, stream):
            await Emf(meters, clock, "node-1").step()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert line["_aws"]["Timestamp"] == clock.now_ms()
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "GoLLeM"
        assert 0 < len(directive["Metrics"]) <= 100
        for keys in directive["Dimensions"]:
            assert all(isinstance(line[key], str) for key in keys)
        for metric in directive["Metrics"]:
            assert metric["Unit"] in UNITS
            assert isinstance(line[metric["Name"]], int | float)


def test_counts_are_since_the_line_before_and_the_rest_is_as_it_is() -> None:
    meters, now = Meters(), [Sample(metrics.RECONCILED, 0, ("R2",)), Sample(metrics.RECONCILED, 1, ("R3",))]
    meters.read_from("test", lambda: [*now, Sample(metrics.MATCHES, 5, ("m",)), Sample(metrics.WEBHOOK_LAG, 7)])
    emf = Emf(meters, FakeClock(), "node-1")
    meters.count(metrics.RPC_CALLS, "Match", "OK", "", by=3)
    meters.count(metrics.RPC_CALLS, "Match", "INTERNAL", "INTERNAL")
    meters.count(metrics.RPC_CALLS, "Match", "NOT_FOUND", "NO_FEASIBLE_ASK")
    meters.observe(metrics.LEDGER_SECONDS, 0.010, "post")
    meters.observe(metrics.LEDGER_SECONDS, 0.030, "post")
    meters.count(metrics.REDIS_CALLS, "claim", "ok", by=4)
    meters.count(metrics.REDIS_CALLS, "claim", "failed")
    first, second = emf.line(), emf.line()
    assert (first["Invocations"], first["Errors"]) == (5, 1)
    assert (first["RedisOperations"], first["RedisErrors"]) == (5, 1)
    assert abs(float(str(first["LedgerLatency"])) - 20) < 1e-6
    assert (second["Invocations"], second["Errors"], second["LedgerLatency"]) == (0, 0, 0)
    for line in (first, second):
        assert (line["ReconciliationBreaks"], line["WebhookLag"]) == (1, 7)


def test_the_page_has_each_of_them() -> None:
    for figure in (*COUNTED, *NOW):
        assert f"`{figure.name}`" in PAGE
