"""Every metric of the exchange: its name with its unit, what it is, its labels. Nothing else is measured.

Names and units are by Prometheus's conventions: seconds, ratios, `_total` for what is only ever counted up. Money is in
credits. A label has few values, all bounded: a model of the catalogue, a method, a state; providers only as many as
`observability.max_series` says, the rest together as `other`. A user, a key or an order is never one.
"""

from dataclasses import dataclass
from enum import Enum

OTHER = "other"  # whatever is not told apart


class Kind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """`buckets` are the upper bounds of a histogram, in the metric's unit."""

    name: str
    kind: Kind
    about: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, about: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, about, labels)


def _gauge(name: str, about: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, about, labels)


def _timer(name: str, about: str, *labels: str) -> Metric:
    """Of what takes less than a millisecond to ten seconds."""
    return Metric(name, Kind.HISTOGRAM, about, labels, _SECONDS)


_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# --- market ---------------------------------------------------------------------------------------------------------

BOOK_DEPTH = _gauge(
    "gollem_book_depth_orders", "Asks that can be matched (side ask), bids that rest (bid).", "model", "side"
)
BOOK_BLOCKED = _gauge("gollem_book_blocked_asks", "Asks in the book that cannot be matched now.", "model")
BOOK_FREE_TOKENS = _gauge("gollem_book_free_tokens", "Tokens that asks still take.", "model")
BOOK_FREE_SLOTS = _gauge("gollem_book_free_slots", "Orders that asks still take.", "model")
BOOK_FRONT = _gauge("gollem_book_front_asks", "Asks on the Pareto front, for half prompt and half completion.", "model")
BOOK_BEST_ASK = _gauge("gollem_book_best_ask_usd", "Lowest price, in USD per standard credit of work.", "model")
BOOK_BEST_BID = _gauge("gollem_book_best_bid_usd", "Highest price limit of a bid that rests, in the same.", "model")
BOOK_SPREAD = _gauge("gollem_book_spread_usd", "Best ask less best bid; only where there are both.", "model")
MATCHES = _counter("gollem_matches_total", "Bids that were matched and held here, replays not counted.", "model")
MATCH_SECONDS = _timer(
    "gollem_match_duration_seconds", "How long a bid took to be matched and held, or refused; none that rested."
)
REFUSALS = _counter(
    "gollem_match_refusals_total",
    "Bids that were refused here, by the error's reason; model is unknown where the catalogue lacks it.",
    "model",
    "reason",
)
REFUSALS_BY_LIMIT = _counter(
    "gollem_match_refusals_by_limit_total", "Bids refused here of which this limit excluded an ask.", "model", "limit"
)
CLAIMS = _counter("gollem_claims_total", "Claims on capacity: granted, granted alone, or refused.", "outcome")

# --- providers ------------------------------------------------------------------------------------------------------

ASKS = _gauge("gollem_asks", "Asks known here.")
ASKS_BLOCKED = _gauge("gollem_asks_blocked", "Asks that are not matched, by reason; an ask may have several.", "reason")
PROVIDER_LATENCY = _gauge(
    "gollem_provider_latency_seconds",
    "Time to the first token as clients measured it.",
    "provider",
    "model",
    "quantile",
)
PROVIDER_PROMISED = _gauge(
    "gollem_provider_promised_latency_seconds", "Time to the first token that is promised.", "provider", "model"
)
PROVIDER_THROUGHPUT = _gauge(
    "gollem_provider_throughput_tokens_per_second",
    "Median speed, measured if it is, else promised.",
    "provider",
    "model",
)
PROVIDER_CIRCUIT = _gauge(
    "gollem_provider_circuit_state", "1 for the state of the provider's circuit.", "provider", "state"
)
PROVIDER_RATE = _gauge(
    "gollem_provider_rate_limit_utilisation_ratio", "Orders of the last minute, of those allowed.", "provider", "model"
)
PROVIDER_HEARD = _gauge(
    "gollem_provider_heartbeat_age_seconds", "Since the last report of an agent.", "provider", "model"
)
PROVIDER_RUNNING = _gauge(
    "gollem_provider_running_orders", "Orders that the agent says are running.", "provider", "model"
)
PROVIDER_MATCHED = _gauge("gollem_provider_matched_orders", "Orders matched since its ask came.", "provider", "model")

# --- orders and money -----------------------------------------------------------------------------------------------

HOLDS_OPEN = _gauge("gollem_holds_open", "Orders under way, as far as known here.")
HOLD_AGE = _gauge("gollem_hold_oldest_age_seconds", "Age of the oldest of them; 0 without any.")
HOLDS_OVERDUE = _gauge("gollem_holds_overdue", "Open holds past their deadline; at most 256 are counted.")
HOLD_OVERDUE_AGE = _gauge("gollem_hold_overdue_seconds", "How long the oldest of them is past it; 0 without any.")
CREDITS = _counter("gollem_credits_total", "Credits that moved by a posting of this server.", "flow")
TRANSACTIONS = _counter("gollem_ledger_transactions_total", "Transactions that this server posted.", "kind")
PLATFORM_BALANCE = _gauge("gollem_platform_balance_credits", "Balance of an account of the platform's own.", "account")
FLOAT = _gauge("gollem_float_credits", "What lies at the payment provider, by the books.")
PAYOUTS = _gauge("gollem_payouts", "Payouts under way, by state; at most 4,096 a state are counted.", "state")
PAYOUTS_CREDITS = _gauge("gollem_payouts_credits", "Credits of those that are counted, by state.", "state")
PAYOUT_AGE = _gauge(
    "gollem_payout_oldest_age_seconds", "Age of the oldest of them, of at most 4,096 a state; 0 without any."
)
PAYOUTS_HALTED = _gauge("gollem_payouts_halted", "1 while payouts are halted.")
PAYMENT_EVENTS = _counter(
    "gollem_payment_events_total", "Events of the payment provider, by what became of them.", "state"
)
WEBHOOKS = _counter("gollem_webhooks_total", "Webhooks that were knocked with, by the answer.", "outcome")
EVENTS_WAITING = _gauge("gollem_payment_events_waiting", "Stored events, NEW or DEAD; at most 256 a state.", "state")
WEBHOOK_LAG = _gauge("gollem_webhook_lag_seconds", "Age of the oldest event that is not handled; 0 without any.")
RECONCILED = _gauge("gollem_reconciliation_ok", "1 if the check last found nothing, 0 if it found a break.", "check")
RECONCILED_AGE = _gauge(
    "gollem_reconciliation_age_seconds", "Since the check was last made; if out of sight, since the start.", "check"
)
ALERTS_OPEN = _gauge("gollem_ledger_alerts_open", "Alerts that wait for a person; at most 256 are counted.")
LOW_BALANCES = _gauge("gollem_low_balance_alerts", "Accounts below the threshold they set; at most 256 are counted.")
DISPUTES_OPEN = _gauge("gollem_disputes_open", "Disputes whose money is withdrawn; at most 256 are counted.")
BOOKS_READ_AGE = _gauge("gollem_books_read_age_seconds", "Since the figures above were read, or since the start.")

# --- calls ----------------------------------------------------------------------------------------------------------

RPC_SECONDS = _timer("gollem_rpc_duration_seconds", "How long a call took, streams too.", "method")
RPC_CALLS = _counter(
    "gollem_rpc_calls_total", "Calls that ended, by status and the error's reason.", "method", "code", "reason"
)
RPC_OPEN = _gauge("gollem_rpc_in_flight", "Calls under way.", "method")
LEDGER_SECONDS = _timer("gollem_ledger_operation_duration_seconds", "How long the ledger took.", "operation")
LEDGER_CALLS = _counter("gollem_ledger_operations_total", "What was asked of the ledger.", "operation", "outcome")
REDIS_SECONDS = _timer("gollem_redis_operation_duration_seconds", "How long Redis took.", "operation")
REDIS_CALLS = _counter("gollem_redis_operations_total", "What was asked of Redis or MemoryDB.", "operation", "outcome")

# --- nodes and the process ------------------------------------------------------------------------------------------

BUILD = _gauge("gollem_build_info", "1, with the version.", "version")
READY = _gauge("gollem_ready", "1 while this server takes calls, and its ledger answers.")
SHARED_DEGRADED = _gauge("gollem_shared_book_degraded", "1 while this node is cut off from a part of the shared book.")
SHARED_LAG = _gauge("gollem_shared_book_lag_seconds", "How late the last changes of other nodes came.")
SHARED_OWN = _gauge("gollem_shared_book_own_asks", "Asks whose agents report here.")
SHARED_WAITING = _gauge("gollem_shared_book_waiting_changes", "Changes that wait to be sent to other nodes.")
SHARED_CHANGES = _counter("gollem_shared_book_changes_total", "Changes that were dropped, or passed over.", "outcome")
SHARED_REBUILT = _counter("gollem_shared_book_rebuilt_total", "Partitions that were read anew.")
LOOP_LAG = _timer("gollem_event_loop_lag_seconds", "How late the event loop did what was due.")
QUEUE = _gauge("gollem_queue_length", "What waits inside of this server.", "queue")
READS_FAILED = _counter("gollem_reads_failed_total", "Figures that could not be read.", "source")

EVERY = tuple(value for value in globals().values() if isinstance(value, Metric))
