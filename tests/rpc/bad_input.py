"""Requests that must be refused, RPC by RPC, and with what."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from gollem.rpc.pb import admin_pb2, common_pb2, credit_pb2, market_pb2, payout_pb2, provider_pb2
from tests.rpc.conftest import ask, bid

ABSENT = object()  # as a value: the field is cleared

_INT32, _INT64 = (-(2**31), 2**31 - 1), (-(2**63), 2**63 - 1)
_NUMBERS = [-math.inf, math.inf, math.nan, -1.0, -0.0, 0.0, 5e-324, 1e300]
_CONTROL = [
    "a\n",
    "\x00",
    "a\x00b",
    "a b",
    "é",
    "ａ",
    "a\u202eb",
    "😀",
    "\x7f",
    "a,b",
    "a%20b",
    "'; DROP TABLE holds;--",
]
_ACCOUNTS = [*_CONTROL, "a" * 65, "a" * 100_000, "a/b", "a:b"]
_ORDER_IDS = [*_CONTROL, "o" * 65, "o" * 100_000, "a/b"]
_ASK_IDS = [*_CONTROL, "a" * 65, "a" * 100_000]
_MODELS = ["gpt-5", "GPT-4", "gpt-4 ", "gpt-4\x00", "модель", "\n", "😀" * 32]
_NO_DECIMALS = [
    "1e5", "1E5", "NaN", "nan", "inf", "-1", "+1", " 1", "1 ", "1\n", "1,0", "1_0", "0x1", ".5", "1.", "1.2.3", "--1",
    "١", "１", "1\x00", "1" + "0" * 12, "1" + "0" * 30, "0.000000001", "1.123456789", "9" * 100_000, "true",
]  # fmt: skip
_GPUS = ["h9000", "h100 ", "h100\x00", "é", "x" * 65]
_ENDPOINTS = [
    "", "localhost", "127.0.0.1", ":80", "h:", "h:0", "h:65536", "h:99999", "h:-1", "h:+1", "h: 1", "h:1\n", "h:٣",
    "http://h:80", "https://", "https://:443", "https://h:0", "h:80/path", "user@h:80", "h h:80", "é:80", "[::1]",
    "[::1]:0", "[zz]:80", "a..b:80", ".h:80", "h.:80/", "-h:80", "https://.h", "x" * 64 + ":80", "h" * 300 + ":80",
]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """`message` is to be refused with this status, reason and, where it is one field's fault, field."""

    label: str
    message: Message
    status: str = "INVALID_ARGUMENT"
    reason: str = "INVALID_FIELD"
    field: str | None = None


def each(base: Message, path: str, values: Iterable[Any], field: str | None = None) -> Iterator[Row]:
    """The message with one field changed: refused as INVALID_FIELD, for the sake of this field."""
    for value in values:
        yield Row(f"{path}={str(value)[:40]!r}", changed(base, path, value), field=field or path)


def others(base: Message, path: str, values: Iterable[Any], status: str, reason: str) -> Iterator[Row]:
    """The same, with another status and reason."""
    for value in values:
        yield Row(f"{path}={str(value)[:40]!r}", changed(base, path, value), status, reason)


def changed(base: Message, path: str, value: Any) -> Message:
    """A copy with the field of this path set; a list replaces what is repeated."""
    copy = type(base)()
    copy.CopyFrom(base)
    inside: Any = copy
    *outer, name = path.split(".")
    for step in outer:
        inside = getattr(inside, step)
    if value is ABSENT or isinstance(value, list):
        inside.ClearField(name)
    if isinstance(value, list):
        getattr(inside, name).extend(value)
    elif isinstance(value, Message):
        getattr(inside, name).CopyFrom(value)
    elif value is not ABSENT:
        setattr(inside, name, value)
    return copy


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
    "CreatePaymentIntent": credit_pb2.CreatePaymentIntentRequest(purchase_id="p", amount_usd="1.00"),
    "StartOnboarding": payout_pb2.StartOnboardingRequest(provider_id="p1", country="DE"),
    "GetEarnings": payout_pb2.GetEarningsRequest(provider_id="p1"),
    "RequestPayout": payout_pb2.RequestPayoutRequest(provider_id="p1", payout_id="po"),
    "ListPayouts": payout_pb2.ListPayoutsRequest(provider_id="p1"),
    "CreateKey": admin_pb2.CreateKeyRequest(account="carol", role="consumer"),
    "ListKeys": admin_pb2.ListKeysRequest(),
    "RevokeKey": admin_pb2.RevokeKeyRequest(key_id="0123456789abcdef"),
    "GrantCredits": GRANT,
    "Audit": admin_pb2.AuditRequest(),
}

# Whose key each RPC takes; the first of them sends the bad requests.
CALLERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Match", "Cancel", "MatchStream", "Generate", "Report"), ("alice",)),
    **dict.fromkeys(("Register", "Deregister", "Telemetry", "PostStatus", "Settle"), ("p1",)),
    **dict.fromkeys(("CreateKey", "ListKeys", "RevokeKey", "GrantCredits", "Audit"), ("ops",)),
    **dict.fromkeys(("Quote", "GetOrderBook", "WatchOrderBook"), ("alice", "p1", "ops")),
    **dict.fromkeys(("GetCircuit", "GetRateLimit", "GetLatency"), ("p1", "alice", "ops")),
    **dict.fromkeys(("Balance", "ListTransactions"), ("alice", "p1", "ops")),
    **dict.fromkeys(("CreatePaymentIntent",), ("alice", "p1", "ops")),
    **dict.fromkeys(("StartOnboarding", "GetEarnings", "RequestPayout", "ListPayouts"), ("p1", "alice", "ops")),
}

# What a request without a single field is answered with: the field at fault, or "" where nothing has to be stated.
EMPTY: dict[str, str] = {
    **dict.fromkeys(("Match", "MatchStream", "Cancel"), "order_id"),
    "Generate": "messages",
    "Quote": "bid.model",
    "Report": "outcome",
    **dict.fromkeys(("Register", "Deregister", "Telemetry", "PostStatus", "Settle"), "provider_id"),
    **dict.fromkeys(("GetCircuit", "GetRateLimit", "GetLatency"), "provider_id"),
    **dict.fromkeys(("GetOrderBook", "WatchOrderBook", "Balance", "ListTransactions", "ListKeys", "Audit"), ""),
    "CreateKey": "account",
    "RevokeKey": "key_id",
    "GrantCredits": "grant_id",
}
UNIMPLEMENTED = frozenset({"CreatePaymentIntent", "StartOnboarding", "GetEarnings", "RequestPayout", "ListPayouts"})


# --- rows -----------------------------------------------------------------------------------------------------------


def bids(base: Message) -> Iterator[Row]:
    """Everything that can be wrong with a bid."""
    yield from each(base, "bid.model", ["", "m" * 129, "m" * 100_000])
    yield from others(base, "bid.model", _MODELS, "NOT_FOUND", "UNKNOWN_MODEL")
    yield from each(base, "bid.prompt_tokens", [-1, 8_192, 2**24, *_INT32])
    yield from each(base, "bid.max_tokens", [0, -1, 2**24 - 1, *_INT32])
    yield from each(base, "bid.max_price", [*_NO_DECIMALS, "0", "0.00000000"])
    yield from each(base, "bid.max_cost", [*_NO_DECIMALS, "0", "99999999999"])
    yield from each(base, "bid.max_latency_ms", [0, -1, 3_600_001, *_INT32])
    yield from each(base, "bid.min_throughput_tps", [*_NUMBERS, 1_000_001.0])
    yield from each(base, "bid.gpu_types", [[gpu] for gpu in ["", *_GPUS]])
    yield from each(base, "bid.gpu_types", [["h100"] * 17, ["h100"] * 100_000])
    for path in ("bid.only_providers", "bid.exclude_providers"):
        yield from each(base, path, [["p1", bad] for bad in ["", *_ACCOUNTS]])
        yield from each(base, path, [["p"] * 65, ["p"] * 100_000])
    yield from each(base, "bid.policy", [5, -1, *_INT32])
    for weight in ("price", "latency", "throughput"):
        yield from each(base, f"bid.weights.{weight}", [-1, 1_001, *_INT32])
    yield from each(base, "bid.weights", [market_pb2.Weights(price=0)])


def matches() -> Iterator[Row]:
    yield from each(MATCH, "order_id", ["", *_ORDER_IDS])
    yield from each(MATCH, "good_for_ms", [-1, 600_001, *_INT32])
    yield from each(MATCH, "alternates", [-1, 9, *_INT32])
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
    yield from each(GENERATE, "order_id", ["", *_ORDER_IDS, "o" * 63])
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
    yield from each(GOOD["Cancel"], "order_id", ["", *_ORDER_IDS])
    yield from others(GOOD["Cancel"], "order_id", ["none", "bobs", "."], "NOT_FOUND", "UNKNOWN_ORDER")


def reports() -> Iterator[Row]:
    yield from each(REPORT, "order_id", ["", *_ORDER_IDS])
    yield from others(REPORT, "order_id", ["none", "bobs"], "NOT_FOUND", "UNKNOWN_ORDER")
    yield from each(REPORT, "outcome", [0, 4, -1, *_INT32])
    yield from each(REPORT, "ttft_ms", [-1.0, 3_600_001.0, math.nan, math.inf, -math.inf, 1e300])
    yield from each(REPORT, "completion_tokens", [-1, _INT32[0]])
    yield from each(REPORT, "throughput_tps", _NUMBERS)


def registrations() -> Iterator[Row]:
    base = GOOD["Register"]
    yield from providers(base)
    yield from each(base, "ask_id", _ASK_IDS)
    yield from each(base, "model", ["", "m" * 129])
    yield from others(base, "model", _MODELS, "NOT_FOUND", "UNKNOWN_MODEL")
    yield from each(base, "gpu_type", ["", *_GPUS])
    yield from each(base, "price", ["", *_NO_DECIMALS, "0", "0.00000000", "1.00000001", "999999999999"])
    yield from each(base, "completion_price", [*_NO_DECIMALS, "0", "1.00000001"])
    yield from each(base, "credit_rate", [*_NO_DECIMALS, "99999999999"])
    yield from each(base, "latency_ms", [0, -1, 3_600_001, *_INT32])
    yield from each(base, "throughput_tps", [*_NUMBERS, 1_000_001.0])
    yield from each(base, "capacity_tokens", [0, -1, 10**12 + 1, *_INT64])
    yield from each(base, "capacity_slots", [0, -1, 65_537, *_INT32])
    yield from each(base, "endpoint", _ENDPOINTS)
    yield from each(base, "max_requests_per_minute", [0, -1, 10_000_001, *_INT32])


def statuses() -> Iterator[Row]:
    yield from providers(TELEMETRY)
    yield from each(TELEMETRY, "ask_id", ["", *_ASK_IDS])
    yield from each(TELEMETRY, "sequence", [-1, _INT64[0]])
    yield from each(TELEMETRY, "price", [*_NO_DECIMALS, "0", "1.00000001"])
    yield from each(TELEMETRY, "completion_price", [*_NO_DECIMALS, "0", "1.00000001"])
    yield from each(TELEMETRY, "latency_ms", [0, -1, 3_600_001, *_INT32])
    yield from each(TELEMETRY, "throughput_tps", _NUMBERS)
    yield from each(TELEMETRY, "capacity_tokens", [-1, 10**12 + 1, *_INT64])
    yield from each(TELEMETRY, "capacity_slots", [-1, 65_537, *_INT32])
    yield from each(TELEMETRY, "running", [-1, 1_000_001, *_INT32])
    yield from each(TELEMETRY, "queued", [-1, 1_000_001, *_INT32])
    yield from each(TELEMETRY, "gpus", [[common_pb2.GpuStatus()] * 65])
    for name, values in (
        ("utilisation_percent", (-1, 101, *_INT32)),
        ("memory_used_bytes", (-1, *_INT64)),
        ("memory_total_bytes", (-1, *_INT64)),
    ):
        gpus = [[common_pb2.GpuStatus(**{name: value})] for value in values]
        yield from each(TELEMETRY, "gpus", gpus, f"gpus.{name}")
    event, started = provider_pb2.OrderEvent, provider_pb2.OrderEvent.STARTED
    yield from each(TELEMETRY, "events", [[event(order_id="mine", kind=started)] * 257])
    bad_ids = [[event(order_id=bad, kind=started)] for bad in ["", *_ORDER_IDS]]
    yield from each(TELEMETRY, "events", bad_ids, "events.order_id")
    yield from each(TELEMETRY, "events", [[event(order_id="mine", kind=k)] for k in (0, 3, -1, *_INT32)], "events.kind")


def settlements() -> Iterator[Row]:
    yield from providers(SETTLE)
    yield from each(SETTLE, "order_id", ["", *_ORDER_IDS])
    yield from each(SETTLE, "usage.prompt_tokens", [-1, _INT32[0]])
    yield from each(SETTLE, "usage.completion_tokens", [-1, _INT32[0]])
    yield from each(SETTLE, "outcome", [0, 4, -1, *_INT32])
    yield from others(SETTLE, "order_id", ["none"], "NOT_FOUND", "UNKNOWN_ORDER")
    yield from others(SETTLE, "order_id", ["bobs"], "PERMISSION_DENIED", "FORBIDDEN")  # matched to p2
    yield from others(SETTLE, "order_id", ["voided"], "FAILED_PRECONDITION", "HOLD_CLOSED")
    yield from others(SETTLE, "order_id", ["settled"], "ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED")


def providers(base: Message) -> Iterator[Row]:
    """A provider id that is none, and those of others."""
    yield from each(base, "provider_id", ["", *_ACCOUNTS])
    yield from others(base, "provider_id", ["p2", "P1", "p1.", "alice", "nobody"], "PERMISSION_DENIED", "FORBIDDEN")


def deregistrations() -> Iterator[Row]:
    yield from providers(GOOD["Deregister"])
    yield from each(GOOD["Deregister"], "ask_id", _ASK_IDS)


def readings(method: str) -> Iterator[Row]:
    yield from each(GOOD[method], "provider_id", ["", *_ACCOUNTS])
    yield from others(GOOD[method], "provider_id", ["nobody", "alice", "P1"], "NOT_FOUND", "UNKNOWN_PROVIDER")


def books(method: str) -> Iterator[Row]:
    yield from others(GOOD[method], "model", [*_MODELS, "m" * 100_000], "NOT_FOUND", "UNKNOWN_MODEL")


def watches() -> Iterator[Row]:
    yield from books("WatchOrderBook")
    yield from each(GOOD["WatchOrderBook"], "interval_ms", [0, 99, -1, 60_001, *_INT32])


def accounts(base: Message) -> Iterator[Row]:
    """An account that is none, and those of others."""
    yield from each(base, "account", _ACCOUNTS)
    yield from others(base, "account", ["bob", "p1", "ops", "ALICE", "nobody"], "PERMISSION_DENIED", "FORBIDDEN")


def pages() -> Iterator[Row]:
    yield from accounts(PAGE)
    yield from each(PAGE, "page_size", [-1, 501, *_INT32])
    yield from each(PAGE, "page_token", ["x", "-1", "+1", " 1", "1.0", "١", "1\n", "9" * 19, "9" * 100_000])
    yield from each(PAGE, "kinds", [[""], ["Hold"], ["hold "], ["x" * 100_000], ["hold"] * 1_000])
    for name in ("from_ms", "to_ms"):
        yield from each(PAGE, name, [-1, *_INT64])


def keys() -> Iterator[Row]:
    base = GOOD["CreateKey"]
    yield from each(base, "account", ["", *_ACCOUNTS])
    yield from each(base, "role", ["", "Consumer", "admin", "consumer ", "consumer\n", "r" * 100_000])


def grants() -> Iterator[Row]:
    yield from each(GRANT, "grant_id", ["", *_ORDER_IDS])
    yield from each(GRANT, "account", ["", *_ACCOUNTS])
    yield from each(GRANT, "amount", ["", *_NO_DECIMALS, "0", "0.00000000", "1000000.00000001", "999999999999"])
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
    "ListKeys": list(each(GOOD["ListKeys"], "account", _ACCOUNTS)),
    "RevokeKey": list(each(GOOD["RevokeKey"], "key_id", ["", *_ACCOUNTS])),
    "GrantCredits": list(grants()),
    # Without fields.
    "Audit": [],
    # Not in this release: whatever is sent is answered alike.
    **{name: [Row("anything", GOOD[name], "UNIMPLEMENTED", "NOT_IMPLEMENTED")] for name in sorted(UNIMPLEMENTED)},
}
