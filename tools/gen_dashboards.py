"""Writes Grafana's dashboards from the tables below: `python tools/gen_dashboards.py`, with --check to compare only."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "deploy" / "grafana"
COLUMNS, WIDTH, HEIGHT = 3, 8, 8


@dataclass(frozen=True)
class Panel:
    """`queries` are (expression, legend). `kind` is Grafana's name of it."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


def one(title: str, unit: str, expression: str, legend: str = "", kind: str = "timeseries") -> Panel:
    return Panel(title, unit, ((expression, legend),), kind)


def quantiles(title: str, recorded: str) -> Panel:
    return Panel(title, "s", tuple((f"{recorded}:p{p}_5m", f"p{p}") for p in (50, 95, 99)))


def seconds(title: str, histogram: str, by: str) -> Panel:
    rate = f"sum by (le, {by}) (rate({histogram}_bucket[5m]))"
    return one(title, "s", f"histogram_quantile(0.99, {rate})", f"{{{{{by}}}}}")


DASHBOARDS = {
    "exchange": (
        one("Takes calls", "bool_on_off", "min(gollem_ready)", "ready", "stat"),
        one("Calls a second", "reqps", "sum by (method) (rate(gollem_rpc_calls_total[5m]))", "{{method}}"),
        one("Errors of our own", "percentunit", "gollem:rpc_errors:ratio_rate5m", "of all calls"),
        quantiles("Time to match and hold", "gollem:match_duration_seconds"),
        one("Matches a second", "ops", "sum by (model) (gollem:matches:rate5m)", "{{model}}"),
        one("Refusals a second", "ops", "sum by (reason) (gollem:refusals:rate5m)", "{{reason}}"),
        one(
            "Refusals by limit",
            "ops",
            "sum by (limit) (rate(gollem_match_refusals_by_limit_total[5m]))",
            "{{limit}}",
        ),
        one("Depth", "short", "max by (model, side) (gollem_book_depth_orders)", "{{model}} {{side}}"),
        one("Front", "short", "max by (model) (gollem_book_front_asks)", "{{model}}"),
        Panel(
            "Prices, USD a standard credit of work",
            "currencyUSD",
            (
                ("min by (model) (gollem_book_best_ask_usd)", "{{model}} ask"),
                ("max by (model) (gollem_book_best_bid_usd)", "{{model}} bid"),
            ),
        ),
        one("Spread", "currencyUSD", "min by (model) (gollem_book_spread_usd)", "{{model}}"),
        one("Free tokens", "short", "max by (model) (gollem_book_free_tokens)", "{{model}}"),
        seconds("Calls, p99", "gollem_rpc_duration_seconds", "method"),
        one("Calls under way", "short", "sum by (method) (gollem_rpc_in_flight)", "{{method}}"),
        Panel(
            "Holds",
            "short",
            (("max(gollem_holds_open)", "open"), ("max(gollem_holds_overdue)", "overdue")),
        ),
        one("Oldest hold", "s", "max(gollem_hold_oldest_age_seconds)", "age"),
    ),
    "providers": (
        one("Asks", "short", "max(gollem_asks)", "asks", "stat"),
        one("Blocked", "short", "max by (reason) (gollem_asks_blocked)", "{{reason}}"),
        one(
            "Latency, p95 as clients measured",
            "s",
            'max by (provider, model) (gollem_provider_latency_seconds{quantile="0.95"})',
            "{{provider}} {{model}}",
        ),
        one(
            "Latency promised",
            "s",
            "max by (provider, model) (gollem_provider_promised_latency_seconds)",
            "{{provider}} {{model}}",
        ),
        one(
            "Throughput, tokens a second",
            "short",
            "min by (provider, model) (gollem_provider_throughput_tokens_per_second)",
            "{{provider}} {{model}}",
        ),
        one(
            "Circuits that are not closed",
            "short",
            'sum by (state) (max by (provider, state) (gollem_provider_circuit_state{state!="closed"}))',
            "{{state}}",
        ),
        one(
            "Rate limit used",
            "percentunit",
            "max by (provider, model) (gollem_provider_rate_limit_utilisation_ratio)",
            "{{provider}} {{model}}",
        ),
        one(
            "Since the last report",
            "s",
            "min by (provider, model) (gollem_provider_heartbeat_age_seconds)",
            "{{provider}} {{model}}",
        ),
        one(
            "Orders running",
            "short",
            "max by (provider, model) (gollem_provider_running_orders)",
            "{{provider}} {{model}}",
        ),
        one(
            "Orders matched",
            "short",
            "max by (provider, model) (gollem_provider_matched_orders)",
            "{{provider}} {{model}}",
        ),
    ),
    "agents": (
        one("Selling", "bool_on_off", "min by (instance) (gollem_agent_selling)", "{{instance}}", "stat"),
        one("GPU", "percentunit", "gollem_agent_gpu_utilisation_ratio", "{{instance}} {{gpu}}"),
        one(
            "VRAM used",
            "percentunit",
            "gollem_agent_gpu_memory_used_bytes / gollem_agent_gpu_memory_total_bytes",
            "{{instance}} {{gpu}}",
        ),
        seconds("Time to the first token, p99", "gen_ai_server_time_to_first_token_seconds", "instance"),
        seconds("Time per token, p99", "gen_ai_server_time_per_output_token_seconds", "instance"),
        seconds("Generations, p99", "gen_ai_server_request_duration_seconds", "outcome"),
        one(
            "Tokens a second",
            "short",
            "sum by (gen_ai_token_type) (rate(gollem_agent_tokens_total[5m]))",
            "{{gen_ai_token_type}}",
        ),
        Panel(
            "Slots",
            "short",
            (
                ("gollem_agent_running_orders", "{{instance}} running"),
                ("gollem_agent_slots", "{{instance}} slots"),
                ("gollem_agent_unsettled_orders", "{{instance}} to settle"),
            ),
        ),
        one("Refusals a second", "ops", "sum by (reason) (rate(gollem_agent_refusals_total[5m]))", "{{reason}}"),
        one("Earned since the start", "short", "gollem_agent_earned_credits", "{{instance}}"),
        one("Earnings", "short", "gollem_agent_earnings_credits", "{{instance}} {{state}}"),
        one("Can be paid out", "bool_yes_no", "gollem_agent_payout_eligible", "{{instance}}", "stat"),
        one("Model server", "short", "gollem_agent_engine", "{{engine}} {{figure}}"),
    ),
    "money": (
        one("Credits by flow, a second", "short", "sum by (flow) (gollem:credits:rate5m)", "{{flow}}"),
        one("Transactions a second", "ops", "sum by (kind) (rate(gollem_ledger_transactions_total[5m]))", "{{kind}}"),
        one("Payments that succeed", "percentunit", "gollem:payments_success:ratio_rate1d", "of a day", "stat"),
        one("Platform's balances", "short", "max by (account) (gollem_platform_balance_credits)", "{{account}}"),
        Panel(
            "Float and what waits for it",
            "short",
            (
                ("max(gollem_float_credits)", "float"),
                ('max(gollem_payouts_credits{state="initiated"})', "payouts to transfer"),
            ),
        ),
        one("Payouts", "short", "max by (state) (gollem_payouts)", "{{state}}"),
        one("Oldest payout", "s", "max(gollem_payout_oldest_age_seconds)", "age"),
        one("Payouts halted", "bool_yes_no", "max(gollem_payouts_halted)", "halted", "stat"),
        one("Books balance", "bool_yes_no", "min by (check) (gollem_reconciliation_ok)", "{{check}}", "stat"),
        one("Since they were proven", "s", "max by (check) (gollem_reconciliation_age_seconds)", "{{check}}"),
        one("Webhook lag", "s", "max(gollem_webhook_lag_seconds)", "oldest event"),
        one("Webhooks", "ops", "sum by (outcome) (rate(gollem_webhooks_total[5m]))", "{{outcome}}"),
        one("Events that wait", "short", "max by (state) (gollem_payment_events_waiting)", "{{state}}"),
        Panel(
            "For a person",
            "short",
            (
                ("max(gollem_ledger_alerts_open)", "alerts"),
                ("max(gollem_disputes_open)", "disputes"),
                ("max(gollem_low_balance_alerts)", "low balances"),
            ),
        ),
    ),
    "nodes": (
        one("Versions", "short", "count by (version) (gollem_build_info)", "{{version}}", "stat"),
        one("Cut off", "bool_yes_no", "max by (instance) (gollem_shared_book_degraded)", "{{instance}}", "stat"),
        one("Late by", "s", "max by (instance) (gollem_shared_book_lag_seconds)", "{{instance}}"),
        one("Own asks", "short", "sum by (instance) (gollem_shared_book_own_asks)", "{{instance}}"),
        one("Claims a second", "ops", "sum by (outcome) (rate(gollem_claims_total[5m]))", "{{outcome}}"),
        Panel(
            "Changes",
            "short",
            (
                ("max by (instance) (gollem_shared_book_waiting_changes)", "{{instance}} wait"),
                ("sum by (instance, outcome) (gollem_shared_book_changes_total)", "{{instance}} {{outcome}}"),
            ),
        ),
        seconds("Ledger, p99", "gollem_ledger_operation_duration_seconds", "operation"),
        one(
            "Ledger, a second",
            "ops",
            "sum by (operation, outcome) (rate(gollem_ledger_operations_total[5m]))",
            "{{operation}} {{outcome}}",
        ),
        seconds("Redis, p99", "gollem_redis_operation_duration_seconds", "operation"),
        one(
            "Redis, a second",
            "ops",
            "sum by (operation, outcome) (rate(gollem_redis_operations_total[5m]))",
            "{{operation}} {{outcome}}",
        ),
        seconds("Event loop late by, p99", "gollem_event_loop_lag_seconds", "instance"),
        one("Queues", "short", "max by (queue) (gollem_queue_length)", "{{queue}}"),
        one("Processor", "percentunit", "rate(process_cpu_seconds_total[5m])", "{{instance}}"),
        one("Memory", "bytes", "process_resident_memory_bytes", "{{instance}}"),
        one("Open files", "short", "process_open_fds", "{{instance}}"),
        one("Age of the ledger's figures", "s", "max by (instance) (gollem_books_read_age_seconds)", "{{instance}}"),
    ),
}


def text_of(name: str, panels: Iterable[Panel]) -> str:
    dashboard = {
        "uid": f"gollem-{name}",
        "title": f"GoLLeM {name}",
        "tags": ["gollem"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_datasource()]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }
    return json.dumps(dashboard, indent=1) + "\n"


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    datasource = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": number + 1,
        "title": panel.title,
        "type": panel.kind,
        "datasource": datasource,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend, "datasource": datasource}
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }


def main() -> int:
    stale = []
    for name, panels in DASHBOARDS.items():
        file, text = FOLDER / f"{name}.json", text_of(name, panels)
        if "--check" not in sys.argv:
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            stale.append(str(file))
    if stale:
        print("not current, run `python tools/gen_dashboards.py`:", *stale, file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
