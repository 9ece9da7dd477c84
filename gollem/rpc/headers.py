"""What callers may say in headers rather than in the message: limits of a bid, and the id of what is asked for.

The public functions complete a message by its call's headers, before anything else looks at it. All raise InvalidField.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gollem import units
from gollem.errors import InvalidField
from gollem.rpc import fields
from gollem.rpc.pb import credit_pb2, market_pb2, payout_pb2

MAX_PRICE = "x-max-price"
MAX_LATENCY = "x-max-latency"
IDEMPOTENCY_KEY = "idempotency-key"

Headers = Mapping[str, object]


def order(request: market_pb2.MatchRequest | market_pb2.MarketGenerateRequest, headers: Headers) -> None:
    _limit(request.bid, headers)
    _name(request, "order_id", headers, fields.order_id)


def quote(request: market_pb2.QuoteRequest, headers: Headers) -> None:
    _limit(request.bid, headers)


def purchase(request: credit_pb2.CreatePaymentIntentRequest, headers: Headers) -> None:
    _name(request, "purchase_id", headers, fields.account)


def payout(request: payout_pb2.RequestPayoutRequest, headers: Headers) -> None:
    _name(request, "payout_id", headers, fields.account)


def _limit(bid: market_pb2.Bid, headers: Headers) -> None:
    """Every limit that is stated is hard: where header and bid state one, the stricter counts."""
    price = _only(headers, MAX_PRICE)
    if price is not None:
        ticks = units.parse_fixed(price, MAX_PRICE)
        if ticks < 1:
            raise InvalidField(MAX_PRICE, "must be at least 0.00000001")
        if not bid.max_price or ticks < units.parse_fixed(bid.max_price, "bid.max_price"):
            bid.max_price = price
    latency = _only(headers, MAX_LATENCY)
    if latency is not None:
        latency_ms = _milliseconds(latency)
        if not bid.HasField("max_latency_ms") or latency_ms < bid.max_latency_ms:
            bid.max_latency_ms = latency_ms


def _only(headers: Headers, name: str) -> str | None:
    """What the header says, if it is there. Of two, nobody could tell which one was meant."""
    said = [value for each, value in headers.items() if each == name]
    if len(said) > 1:
        raise InvalidField(name, "must be given once")
    return str(said[0]) if said else None


def _milliseconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidField(MAX_LATENCY, "must be a whole number of milliseconds")
    return fields.latency_us(int(text), MAX_LATENCY) // 1_000


def _name(request: Any, field: str, headers: Headers, rule: Callable[[str, str], str]) -> None:
    """Idempotency-Key is the id of a request that names none itself."""
    key = _only(headers, IDEMPOTENCY_KEY)
    if key is None or getattr(request, field):
        return
    # Some send it as a string with quotes, as the draft of a standard has it.
    bare = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    setattr(request, field, rule(bare, IDEMPOTENCY_KEY))
