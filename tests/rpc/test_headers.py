"""What headers add to a message: limits of which the stricter counts, and ids."""

from typing import Any

import pytest
from multidict import MultiDict

from gollem.errors import InvalidField
from gollem.rpc import headers
from gollem.rpc.pb import credit_pb2, market_pb2, payout_pb2


@pytest.mark.parametrize(
    ("stated", "header", "counts"),
    [("", "0.002", "0.002"), ("0.001", "0.002", "0.001"), ("0.002", "0.001", "0.001"), ("0.001", None, "0.001")],
)
def test_of_two_prices_the_lower_counts(stated: str, header: str | None, counts: str) -> None:
    request = market_pb2.QuoteRequest(bid=market_pb2.Bid(max_price=stated))
    headers.quote(request, {} if header is None else {"x-max-price": header})
    assert request.bid.max_price == counts


@pytest.mark.parametrize(
    ("stated", "header", "counts"), [(None, "500", 500), (300, "500", 300), (500, "300", 300), (0, "300", 0)]
)
def test_of_two_latencies_the_shorter_counts(stated: int | None, header: str, counts: int) -> None:
    request = market_pb2.MatchRequest(bid=market_pb2.Bid(max_latency_ms=stated))
    headers.order(request, {"x-max-latency": header})
    assert request.bid.max_latency_ms == counts


@pytest.mark.parametrize("latency", ["", "0", "-1", "1.5", "3600001", "9" * 10, "٣", "soon"])
@pytest.mark.parametrize("price", [None, "0", "-1", "1e-3", "0.000000001", ""])
def test_a_limit_that_is_none_is_refused(price: str | None, latency: str) -> None:
    given: dict[str, object] = {"x-max-latency": latency} if price is None else {"x-max-price": price}
    with pytest.raises(InvalidField) as error:
        headers.quote(market_pb2.QuoteRequest(), given)
    assert error.value.field in given


NAMED: list[Any] = [
    (headers.order, market_pb2.MatchRequest, "order_id"),
    (headers.order, market_pb2.MarketGenerateRequest, "order_id"),
    (headers.purchase, credit_pb2.CreatePaymentIntentRequest, "purchase_id"),
    (headers.payout, payout_pb2.RequestPayoutRequest, "payout_id"),
]


@pytest.mark.parametrize(("complete", "message", "field"), NAMED)
def test_the_idempotency_key_names_what_has_no_id(complete: Any, message: Any, field: str) -> None:
    for key in ("key-1", '"key-1"'):
        request = message()
        complete(request, {"idempotency-key": key})
        assert getattr(request, field) == "key-1"
    named = message(**{field: "own"})
    complete(named, {"idempotency-key": "key-1"})
    assert getattr(named, field) == "own"
    for key in ("", '""', '"', "a b", "é", "x" * 65):
        with pytest.raises(InvalidField, match="idempotency-key"):
            complete(message(), {"idempotency-key": key})


@pytest.mark.parametrize(
    ("name", "values"), [("x-max-price", "19"), ("x-max-latency", "91"), ("idempotency-key", "ab")]
)
def test_a_header_that_is_given_twice_is_refused(name: str, values: str) -> None:
    """Whichever counted, a caller might have meant the other."""
    with pytest.raises(InvalidField, match=f"{name}: must be given once"):
        headers.order(market_pb2.MarketGenerateRequest(), MultiDict([(name, value) for value in values]))
