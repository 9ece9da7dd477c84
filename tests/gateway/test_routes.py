"""Every route over HTTP: what it answers, and how it refuses."""

import pytest

from gollem.identity import Role
from tests.gateway.conftest import Client, Market


async def test_quote_match_cancel_and_report(market: Market) -> None:
    client, buyer = market.client, market.buyer
    quoted = await client.post("/api/quote", buyer, {"bid": market.bid()})
    assert (quoted.status, quoted.body["frontSize"], quoted.body["winnerProviderId"]) == (200, 1, market.seller.account)
    order = market.order()
    matched = await client.post("/api/match", buyer, order)
    assert (matched.status, matched.body["held"], matched.body["replayed"]) == (200, "200.00000000", False)
    again = await client.post("/api/match", buyer, order)
    assert again.body["replayed"] is True
    report = {"orderId": order["orderId"], "outcome": "COMPLETED", "ttftMs": 90, "completionTokens": 40}
    assert (await client.post("/api/report", buyer, report)).status == 200
    cancelled = await client.post("/api/cancel", buyer, {"orderId": order["orderId"]})
    assert (cancelled.status, cancelled.body["state"]) == (200, "PENDING")


async def test_order_book(market: Market) -> None:
    seen = await market.client.get("/api/orderbook/status", market.buyer, model="gpt4")
    assert seen.status == 200
    [model] = seen.body["models"]
    assert model["model"] == "gpt-4"
    assert market.seller.account in {offer["providerId"] for offer in model["front"]}


async def test_provider_status_circuit_rate_limit_and_latency(market: Market) -> None:
    client, seller = market.client, market.seller
    report = {"providerId": seller.account, "askId": "a", "sequence": "1", "running": 1}
    told = await client.post("/api/provider/status", seller, report)
    assert (told.status, told.body["known"], told.body["sequence"]) == (200, True, "1")
    circuit = await client.get("/api/provider/circuit", market.buyer, providerId=seller.account)
    assert (circuit.status, circuit.body["state"], circuit.body["failures"]) == (200, "CLOSED", 0)
    limit = await client.get("/api/provider/ratelimit", market.buyer, provider_id=seller.account)
    assert (limit.status, limit.body["asks"][0]["askId"]) == (200, "a")
    latency = await client.get("/api/provider/latency", market.buyer, providerId=seller.account)
    assert (latency.status, latency.body["asks"][0]["promisedLatencyMs"]) == (200, 100)


async def test_payments(client: Client) -> None:
    alice = await client.person(funds="12.5")
    balance = await client.get("/api/payments/balance", alice)
    assert (balance.status, balance.body["available"], balance.body["availableUsd"]) == (200, "12.50000000", "0.0125")
    made = await client.post("/api/payments/create-intent", alice, {"purchaseId": "p1", "amountUsd": "10.00"})
    assert (made.status, made.body["credits"]) == (200, "10000.00000000")
    found = await client.get("/api/payments/purchase", alice, purchaseId="p1")
    assert (found.status, found.body["state"]) == (200, "created")
    lines = await client.get("/api/payments/transactions", alice, pageSize="1", kinds="grant")
    assert [line["amount"] for line in lines.body["transactions"]] == ["12.50000000"]
    top_up = await client.get("/api/payments/top-up", alice)
    assert (top_up.status, top_up.body["enabled"]) == (200, False)
    off = await client.post("/api/payments/top-up", alice, {"enabled": False})
    assert (off.status, off.body["enabled"]) == (200, False)
    alert = await client.post("/api/payments/alert", alice, {"threshold": "5"})
    assert (alert.status, alert.body) == (200, {})


async def test_payouts(client: Client) -> None:
    seller = await client.person(Role.PROVIDER)
    begun = await client.post("/api/payouts/onboarding", seller, {"country": "US"})
    assert begun.status == 200
    assert begun.body["url"].startswith("http")
    earned = await client.get("/api/payouts/earnings", seller)
    assert (earned.status, earned.body["payable"]) == (200, "0.00000000")
    for path in ("/api/payouts/earnings", "/api/payouts", "/api/payouts/statement?month=202601&format=csv"):
        assert (await client.get(path, await client.person())).error[:2] == (403, "FORBIDDEN"), path
    assert (await client.get("/api/payouts", seller)).body == {"payouts": [], "nextPageToken": ""}
    statement = await client.get("/api/payouts/statement", seller, month="202601", format="csv")
    assert statement.status == 200
    refused = await client.get("/api/payouts/statement", seller, month="1", format="csv")
    assert refused.error[:2] == (400, "INVALID_FIELD")
    assert (await client.get("/api/payouts/trail", seller, payoutId="none")).error[:2] == (404, "UNKNOWN_PAYOUT")
    refused = await client.post("/api/payouts/request", seller, {"payoutId": "po"})
    assert refused.status == 400


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("/api/match", {"orderId": "", "bid": {}}, 400, "INVALID_FIELD"),
        ("/api/match", {"orderId": "x", "bid": {"model": "gpt-9"}}, 404, "UNKNOWN_MODEL"),
        ("/api/quote", {}, 400, "INVALID_FIELD"),
        ("/api/quote", {"bid": {"promptTokens": "many"}}, 400, "INVALID_MESSAGE"),
        ("/api/quote", {"bid": []}, 400, "INVALID_MESSAGE"),
        ("/api/quote", {"bid": {"policy": "POLICY_OF_MINE"}}, 400, "INVALID_MESSAGE"),
        ("/api/cancel", {"orderId": "nobody-has-it"}, 404, "UNKNOWN_ORDER"),
        ("/api/report", {"orderId": "nobody-has-it", "outcome": "COMPLETED"}, 404, "UNKNOWN_ORDER"),
        ("/api/generate", {"orderId": "x"}, 400, "INVALID_FIELD"),
        ("/api/payments/create-intent", {"purchaseId": "p", "amountUsd": "0.99"}, 400, "INVALID_FIELD"),
        ("/api/payments/alert", {"threshold": "-1"}, 400, "INVALID_FIELD"),
        ("/api/payments/top-up", {"enabled": True, "threshold": "x"}, 400, "INVALID_FIELD"),
        ("/api/provider/status", {"providerId": "other"}, 403, "FORBIDDEN"),
        ("/api/payouts/onboarding", {"country": "US"}, 403, "FORBIDDEN"),
    ],
)
async def test_bad_bodies(client: Client, path: str, body: object, status: int, reason: str) -> None:
    refused = await client.post(path, await client.person(), body)
    assert refused.error[:2] == (status, reason), refused.body
    assert refused.body["message"]


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/api/orderbook/status?model=gpt-9", 404, "UNKNOWN_MODEL"),
        ("/api/provider/circuit", 400, "INVALID_FIELD"),
        ("/api/provider/circuit?providerId=nobody", 404, "UNKNOWN_PROVIDER"),
        ("/api/provider/circuit?provider=p1", 400, "INVALID_MESSAGE"),
        ("/api/payments/transactions?pageSize=501", 400, "INVALID_FIELD"),
        ("/api/payments/transactions?pageSize=ten", 400, "INVALID_MESSAGE"),
        ("/api/payments/balance?account=somebody-else", 403, "FORBIDDEN"),
        ("/api/payments/purchase?purchaseId=none", 404, "UNKNOWN_PURCHASE"),
        ("/api/payouts/statement?month=1&format=csv", 403, "FORBIDDEN"),
        ("/api/match", 404, "NO_SUCH_ROUTE"),
        ("/api", 404, "NO_SUCH_ROUTE"),
        ("/api/keys", 404, "NO_SUCH_ROUTE"),
        ("/api/orderbook%2fstatus", 400, "INVALID_PATH"),
        ("/api/orderbook%5Cstatus?x=1", 400, "INVALID_PATH"),
        ("/api/orderbook/status?x=a%2fb", 400, "INVALID_MESSAGE"),
    ],
)
async def test_bad_queries(client: Client, path: str, status: int, reason: str) -> None:
    refused = await client.send("GET", path, await client.person())
    assert refused.error[:2] == (status, reason), refused.body
    assert refused.body["message"]


async def test_errors_carry_their_figures(market: Market) -> None:
    client = market.client
    poor = await client.person(funds="1")
    refused = await client.post("/api/match", poor, market.order())
    status, reason, figures = refused.error
    assert (status, reason) == (402, "INSUFFICIENT_CREDITS")
    assert (figures["needed"], figures["available"]) == ("200.00000000", "1.00000000")
    refused = await client.post("/api/match", market.buyer, market.order(bid=market.bid(maxPrice="0.00001")))
    status, reason, figures = refused.error
    assert (status, reason) == (404, "NO_FEASIBLE_ASK")
    assert figures["retryable"]
    assert "x-http-status" not in refused.headers


async def test_nobody_without_a_key(client: Client) -> None:
    assert (await client.get("/api/payments/balance")).error[:2] == (401, "UNAUTHENTICATED")
    refused = await client.send("GET", "/api/payments/balance", headers={"authorization": "Bearer nonsense"})
    assert refused.error[:2] == (401, "UNAUTHENTICATED")


async def test_the_full_provider_says_when_to_come_back(market: Market) -> None:
    for _ in range(4):
        assert (await market.client.post("/api/match", market.buyer, market.order())).status == 200
    refused = await market.client.post("/api/match", market.buyer, market.order())
    assert refused.error[:2] == (429, "CAPACITY_EXHAUSTED")
    assert refused.headers["retry-after"] == "1"
