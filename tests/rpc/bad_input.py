"""Requests that must be refused, RPC by RPC, and with what."""

import math
from collections.abc import Iterator

from google.protobuf.message import Message

from gollem.rpc.pb import admin_pb2, common_pb2, credit_pb2, market_pb2, provider_pb2
from tests.rpc import bad_payments, bad_views
from tests.rpc.bad_rows import (
    ABSENT,
    ACCOUNTS,
    ASK_IDS,
    ENDPOINTS,
    GPUS,
    INT32,
    INT64,
    MODELS,
    NO_DECIMALS,
    NUMBERS,
    ORDER_IDS,
    Row,
    changed,
    each,
    others,
)
from tests.rpc.conftest import ask, bid

# --- good requests, from which the bad ones differ in one thing ------------------------------------------------------

MATCH = market_pb2.MatchRequest(order_id="new", bid=bid())
GENERATE = market_pb2.MarketGenerateRequest(
    order_id="relayed", bid=bid(), messages=[common_pb2.ChatMessage(role="user", content="Hello")]
)
REPORT = market_pb2.ReportRequest(order_id="mine", outcome=market_pb2.ReportRequest.COMPLETED)
TELEMETRY = provider_pb2.TelemetryRequest(provider_id="p1", ask_id="a", sequence=1)
SETTLE = provider_pb2.SettleRequest(
    provider_id="p1",
    order_id="mine",
    usage=common_pb2.Usage(prompt_tokens=1, completion_tokens=1),
    outcome=provider_pb2.SettleRequest.COMPLETED,
)
GRANT = admin_pb2.GrantCreditsRequest(grant_id="new", account="alice", amount="1")
PAGE = credit_pb2.ListTransactionsRequest()

GOOD: dict[str, Message] = {
    "Match": MATCH,
    "Quote": market_pb2.QuoteRequest(bid=bid()),
    "Cancel": market_pb2.CancelRequest(order_id="voided"),
    "MatchStream": MATCH,
    "Generate": GENERATE,
    "Report": REPORT,
    "GetOrderBook": market_pb2.GetOrderBookRequest(),
    "WatchOrderBook": market_pb2.WatchOrderBookRequest(),
    "Register": ask("p1"),
    "Deregister": provider_pb2.DeregisterRequest(provider_id="p1"),
    "Telemetry": TELEMETRY,
    "PostStatus": TELEMETRY,
    "Settle": SETTLE,
    "GetCircuit": provider_pb2.GetCircuitRequest(provider_id="p1"),
    "GetRateLimit": provider_pb2.GetRateLimitRequest(provider_id="p1"),
    "GetLatency": provider_pb2.GetLatencyRequest(provider_id="p1"),
    "Balance": credit_pb2.BalanceRequest(),
    "ListTransactions": PAGE,
    "CreateKey": admin_pb2.CreateKeyRequest(account="carol", role="consumer"),
    "ListKeys": admin_pb2.ListKeysRequest(),
    "RevokeKey": admin_pb2.RevokeKeyRequest(key_id="0123456789abcdef"),
    "GrantCredits": GRANT,
    "Audit": admin_pb2.AuditRequest(),
    "ListNodes": admin_pb2.ListNodesRequest(),
    **bad_payments.GOOD,
    **bad_views.GOOD,
}

# Whose key each RPC takes; the first of them sends the bad requests.
CALLERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Match", "Cancel", "MatchStream", "Generate", "Report"), ("alice",)),
    **dict.fromkeys(("Register", "Deregister", "Telemetry", "PostStatus", "Settle"), ("p1",)),
    **dict.fromkeys(("CreateKey", "ListKeys", "RevokeKey", "GrantCredits", "Audit", "ListNodes"), ("ops",)),
    **dict.fromkeys(("Quote", "GetOrderBook", "WatchOrderBook"), ("alice", "p1", "ops")),
    **dict.fromkeys(("GetCircuit", "GetRateLimit", "GetLatency"), ("p1", "alice", "ops")),
    **dict.fromkeys(("Balance", "ListTransactions"), ("alice", "p1", "ops")),
    **bad_payments.CALLERS,
    **bad_views.CALLERS,
}

# What a request without a single field is answered with: the field at fault, or "" where nothing has to be stated.
EMPTY: dict[str, str] = {
    **dict.fromkeys(("Match", "MatchStream", "Cancel"), "order_id"),
    "Generate": "messages",
    "Quote": "bid.model",
    "Report": "outcome",
    **dict.fromkeys(("Register", "Deregister", "Telemetry", "PostStatus", "Settle"), "provider_id"),
    **dict.fromkeys(("GetCircuit", "GetRateLimit", "GetLatency"), "provider_id"),
    **dict.fromkeys(
        ("GetOrderBook", "WatchOrderBook", "Balance", "ListTransactions", "ListKeys", "Audit", "ListNodes"), ""
    ),
    "CreateKey": "account",
    "RevokeKey": "key_id",
    "GrantCredits": "grant_id",
    **bad_payments.EMPTY,
    **bad_views.EMPTY,
}


# --- rows -----------------------------------------------------------------------------------------------------------


def bids(base: Message) -> Iterator[Row]:
    """Everything that can be wrong with a bid."""
    yield from each(base, "bid.model", ["", "m" * 129, "m" * 100_000])
    yield from others(base, "bid.model", MODELS, "NOT_FOUND", "UNKNOWN_MODEL")
    yield from each(base, "bid.prompt_tokens", [-1, 8_192, 2**24, *INT32])
    yield from each(base, "bid.max_tokens", [0, -1, 2**24 - 1, *INT32])
    yield from each(base, "bid.max_price", [*NO_DECIMALS, "0", "0.00000000"])
    yield from each(base, "bid.max_cost", [*NO_DECIMALS, "0", "99999999999"])
    yield from each(base, "bid.max_latency_ms", [0, -1, 3_600_001, *INT32])
    yield from each(base, "bid.min_throughput_tps", [*NUMBERS, 1_000_001.0])
    yield from each(base, "bid.gpu_types", [[gpu] for gpu in ["", *GPUS]])
    yield from each(base, "bid.gpu_types", [["h100"] * 17, ["h100"] * 100_000])
    for path in ("bid.only_providers", "bid.exclude_providers"):
        yield from each(base, path, [["p1", bad] for bad in ["", *ACCOUNTS]])
        yield from each(base, path, [["p"] * 65, ["p"] * 100_000])
    yield from each(base, "bid.policy", [5, -1, *INT32])
    for weight in ("price", "latency", "throughput"):
        yield from each(base, f"bid.weights.{weight}", [-1, 1_001, *INT32])
    yield from each(base, "bid.weights", [market_pb2.Weights(price=0)])


def matches() -> Iterator[Row]:
    yield from each(MATCH, "order_id", ["", *ORDER_IDS])
    yield from each(MATCH, "good_for_ms", [-1, 600_001, *INT32])
    yield from each(MATCH, "alternates", [-1, 9, *INT32])
    yield from each(MATCH, "bid", [ABSENT], "bid.model")
    yield from each(MATCH, "bid.prompt_tokens", [0])
    yield from bids(MATCH)
    # An order of one's own for another bid, another's order, an order that is over.
    mismatch = ("ALREADY_EXISTS", "DUPLICATE_ORDER_MISMATCH")
    yield from others(changed(MATCH, "bid.max_tokens", 7), "order_id", ["mine", "bobs", "settled", "voided"], *mismatch)
    yield from others(MATCH, "order_id", ["bobs"], *mismatch)
    yield from others(MATCH, "bid.max_cost", ["0.00000001"], "NOT_FOUND", "NO_FEASIBLE_ASK")
    dear = changed(MATCH, "bid.max_tokens", 8_000)
    yield Row("more than the balance", dear, "FAILED_PRECONDITION", "INSUFFICIENT_CREDITS")


def quotes() -> Iterator[Row]:
    yield from bids(GOOD["Quote"])
    yield from each(GOOD["Quote"], "bid.prompt_tokens", [0])


def generations() -> Iterator[Row]:
    yield from each(GENERATE, "order_id", ["", *ORDER_IDS, "o" * 63])
    hello = GENERATE.messages[0]
    yield from each(GENERATE, "messages", [[], [hello] * 1_025])
    long = common_pb2.ChatMessage(role="user", content="é" * (1 << 20))
    yield from each(GENERATE, "messages", [[long, hello]])
    for role in ("", "robot", "User", "user\n", "u" * 100_000):
        yield from each(GENERATE, "messages", [[hello, common_pb2.ChatMessage(role=role)]], "messages[1].role")
    yield from each(GENERATE, "sampling.temperature", [-0.1, 2.1, math.nan, math.inf, -math.inf, 1e300])
    yield from each(GENERATE, "sampling.top_p", [0.0, -1.0, 1.1, math.nan, math.inf])
    yield from each(GENERATE, "sampling.stop", [["x"] * 9, ["x" * 65], [""], ["é" * 33]])
    yield from bids(GENERATE)
    another = changed(GENERATE, "bid.max_tokens", 7)
    yield from others(another, "order_id", ["mine", "bobs"], "ALREADY_EXISTS", "DUPLICATE_ORDER_MISMATCH")


def cancels() -> Iterator[Row]:
    yield from each(GOOD["Cancel"], "order_id", ["", *ORDER_IDS])
    yield from others(GOOD["Cancel"], "order_id", ["none", "bobs", "."], "NOT_FOUND", "UNKNOWN_ORDER")


def reports() -> Iterator[Row]:
    yield from each(REPORT, "order_id", ["", *ORDER_IDS])
    yield from others(REPORT, "order_id", ["none", "bobs"], "NOT_FOUND", "UNKNOWN_ORDER")
    yield from each(REPORT, "outcome", [0, 4, -1, *INT32])
    yield from each(REPORT, "ttft_ms", [-1.0, 3_600_001.0, math.nan, math.inf, -math.inf, 1e300])
    yield from each(REPORT, "completion_tokens", [-1, INT32[0]])
    yield from each(REPORT, "throughput_tps", NUMBERS)


def registrations() -> Iterator[Row]:
    base = GOOD["Register"]
    yield from providers(base)
    yield from each(base, "ask_id", ASK_IDS)
    yield from each(base, "model", ["", "m" * 129])
    yield from others(base, "model", MODELS, "NOT_FOUND", "UNKNOWN_MODEL")
    yield from each(base, "gpu_type", ["", *GPUS])
    yield from each(base, "price", ["", *NO_DECIMALS, "0", "0.00000000", "1.00000001", "999999999999"])
    yield from each(base, "completion_price", [*NO_DECIMALS, "0", "1.00000001"])
    yield from each(base, "credit_rate", [*NO_DECIMALS, "99999999999"])
    yield from each(base, "latency_ms", [0, -1, 3_600_001, *INT32])
    yield from each(base, "throughput_tps", [*NUMBERS, 1_000_001.0])
    yield from each(base, "capacity_tokens", [0, -1, 10**12 + 1, *INT64])
    yield from each(base, "capacity_slots", [0, -1, 65_537, *INT32])
    yield from each(base, "endpoint", ENDPOINTS)
    yield from each(base, "max_requests_per_minute", [0, -1, 10_000_001, *INT32])


def statuses() -> Iterator[Row]:
    yield from providers(TELEMETRY)
    yield from each(TELEMETRY, "ask_id", ["", *ASK_IDS])
    yield from each(TELEMETRY, "sequence", [-1, INT64[0]])
    yield from each(TELEMETRY, "price", [*NO_DECIMALS, "0", "1.00000001"])
    yield from each(TELEMETRY, "completion_price", [*NO_DECIMALS, "0", "1.00000001"])
    yield from each(TELEMETRY, "latency_ms", [0, -1, 3_600_001, *INT32])
    yield from each(TELEMETRY, "throughput_tps", NUMBERS)
    yield from each(TELEMETRY, "capacity_tokens", [-1, 10**12 + 1, *INT64])
    yield from each(TELEMETRY, "capacity_slots", [-1, 65_537, *INT32])
    yield from each(TELEMETRY, "running", [-1, 1_000_001, *INT32])
    yield from each(TELEMETRY, "queued", [-1, 1_000_001, *INT32])
    yield from each(TELEMETRY, "gpus", [[common_pb2.GpuStatus()] * 65])
    for name, values in (
        ("utilisation_percent", (-1, 101, *INT32)),
        ("memory_used_bytes", (-1, *INT64)),
        ("memory_total_bytes", (-1, *INT64)),
    ):
        gpus = [[common_pb2.GpuStatus(**{name: value})] for value in values]
        yield from each(TELEMETRY, "gpus", gpus, f"gpus.{name}")
    event, started = provider_pb2.OrderEvent, provider_pb2.OrderEvent.STARTED
    yield from each(TELEMETRY, "events", [[event(order_id="mine", kind=started)] * 257])
    bad_ids = [[event(order_id=bad, kind=started)] for bad in ["", *ORDER_IDS]]
    yield from each(TELEMETRY, "events", bad_ids, "events.order_id")
    yield from each(TELEMETRY, "events", [[event(order_id="mine", kind=k)] for k in (0, 3, -1, *INT32)], "events.kind")


def settlements() -> Iterator[Row]:
    yield from providers(SETTLE)
    yield from each(SETTLE, "order_id", ["", *ORDER_IDS])
    yield from each(SETTLE, "usage.prompt_tokens", [-1, INT32[0]])
    yield from each(SETTLE, "usage.completion_tokens", [-1, INT32[0]])
    yield from each(SETTLE, "outcome", [0, 4, -1, *INT32])
    yield from others(SETTLE, "order_id", ["none"], "NOT_FOUND", "UNKNOWN_ORDER")
    yield from others(SETTLE, "order_id", ["bobs"], "PERMISSION_DENIED", "FORBIDDEN")  # matched to p2
    yield from others(SETTLE, "order_id", ["voided"], "FAILED_PRECONDITION", "HOLD_CLOSED")
    yield from others(SETTLE, "order_id", ["settled"], "ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED")


def providers(base: Message) -> Iterator[Row]:
    """A provider id that is none, and those of others."""
    yield from each(base, "provider_id", ["", *ACCOUNTS])
    yield from others(base, "provider_id", ["p2", "P1", "p1.", "alice", "nobody"], "PERMISSION_DENIED", "FORBIDDEN")


def deregistrations() -> Iterator[Row]:
    yield from providers(GOOD["Deregister"])
    yield from each(GOOD["Deregister"], "ask_id", ASK_IDS)


def readings(method: str) -> Iterator[Row]:
    yield from each(GOOD[method], "provider_id", ["", *ACCOUNTS])
    yield from others(GOOD[method], "provider_id", ["nobody", "alice", "P1"], "NOT_FOUND", "UNKNOWN_PROVIDER")


def books(method: str) -> Iterator[Row]:
    yield from others(GOOD[method], "model", [*MODELS, "m" * 100_000], "NOT_FOUND", "UNKNOWN_MODEL")


def watches() -> Iterator[Row]:
    yield from books("WatchOrderBook")
    yield from each(GOOD["WatchOrderBook"], "interval_ms", [0, 99, -1, 60_001, *INT32])


def accounts(base: Message) -> Iterator[Row]:
    """An account that is none, and those of others."""
    yield from each(base, "account", ACCOUNTS)
    yield from others(base, "account", ["bob", "p1", "ops", "ALICE", "nobody"], "PERMISSION_DENIED", "FORBIDDEN")


def pages() -> Iterator[Row]:
    yield from accounts(PAGE)
    yield from each(PAGE, "page_size", [-1, 501, *INT32])
    yield from each(PAGE, "page_token", ["x", "-1", "+1", " 1", "1.0", "١", "1\n", "9" * 19, "9" * 100_000])
    yield from each(PAGE, "kinds", [[""], ["Hold"], ["hold "], ["x" * 100_000], ["hold"] * 1_000])
    for name in ("from_ms", "to_ms"):
        yield from each(PAGE, name, [-1, *INT64])


def keys() -> Iterator[Row]:
    base = GOOD["CreateKey"]
    yield from each(base, "account", ["", *ACCOUNTS])
    yield from each(base, "role", ["", "Consumer", "admin", "consumer ", "consumer\n", "r" * 100_000])


def grants() -> Iterator[Row]:
    yield from each(GRANT, "grant_id", ["", *ORDER_IDS])
    yield from each(GRANT, "account", ["", *ACCOUNTS])
    yield from each(GRANT, "amount", ["", *NO_DECIMALS, "0", "0.00000000", "1000000.00000001", "999999999999"])
    yield from others(GRANT, "grant_id", ["g-alice-1000"], "ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED")


ROWS: dict[str, list[Row]] = {
    "Match": list(matches()),
    "MatchStream": list(matches()),
    "Quote": list(quotes()),
    "Cancel": list(cancels()),
    "Generate": list(generations()),
    "Report": list(reports()),
    "GetOrderBook": list(books("GetOrderBook")),
    "WatchOrderBook": list(watches()),
    "Register": list(registrations()),
    "Deregister": list(deregistrations()),
    "Telemetry": list(statuses()),
    "PostStatus": list(statuses()),
    "Settle": list(settlements()),
    "GetCircuit": list(readings("GetCircuit")),
    "GetRateLimit": list(readings("GetRateLimit")),
    "GetLatency": list(readings("GetLatency")),
    "Balance": list(accounts(GOOD["Balance"])),
    "ListTransactions": list(pages()),
    "CreateKey": list(keys()),
    "ListKeys": list(each(GOOD["ListKeys"], "account", ACCOUNTS)),
    "RevokeKey": list(each(GOOD["RevokeKey"], "key_id", ["", *ACCOUNTS])),
    "GrantCredits": list(grants()),
    # Without fields.
    "Audit": [],
    "ListNodes": [],
    **bad_payments.ROWS,
    **bad_views.ROWS,
}
