"""The calls that people look through, over the wire: whose they are, and what they say."""

from typing import Any

import pytest

from gollem.rpc.pb import account_pb2, common_pb2, credit_pb2, market_pb2, operator_pb2, payout_pb2, provider_pb2
from gollem.rpc.pb.account_grpc import AccountServiceStub
from gollem.rpc.pb.operator_grpc import OperatorServiceStub
from tests.rpc.conftest import Site, order, refused
from tests.until import until_answer


async def test_trades_tell_the_seller_and_not_the_buyer(site: Site) -> None:
    await site.fund()
    await site.sell()
    await site.market.Match(order("o1"), metadata=site.alice)
    for reader in (site.bob, site.p2, site.ops):
        answer = await site.market.ListTrades(market_pb2.ListTradesRequest(model="gpt4"), metadata=reader)
        [trade] = answer.trades
        assert (trade.provider_id, trade.held, trade.price) == ("p1", "200.00000000", "0.00100000")
        assert "alice" not in str(answer)
        assert "o1" not in str(answer)


async def test_refusals_by_limit(site: Site) -> None:
    await site.fund()
    await site.sell()
    await refused(site.market.Match(order("o1", max_price="0.00000001"), metadata=site.alice))
    answer = await site.market.GetRefusals(market_pb2.GetRefusalsRequest(), metadata=site.p1)
    [model] = answer.models
    assert (model.model, model.refused, model.matched, dict(model.limited_by)) == ("gpt-4", 1, 0, {"price": 1})


async def test_a_provider_sees_its_asks_and_why_they_lose(site: Site) -> None:
    await site.fund()
    gpu = common_pb2.GpuStatus(name="H100", utilisation_percent=50, memory_used_bytes=1, memory_total_bytes=2)
    await site.sell("p1")
    await site.sell("p2", price="0.0009")
    report = provider_pb2.TelemetryRequest(provider_id="p1", ask_id="a", sequence=1, running=3, gpus=[gpu])
    await site.provider.PostStatus(report, metadata=site.p1)
    await site.market.Match(order("o1"), metadata=site.alice)
    [seen] = (await site.provider.ListAsks(provider_pb2.ListAsksRequest(), metadata=site.p1)).asks
    assert (seen.ask_id, seen.model, seen.running, seen.HasField("queued"), list(seen.gpus)) == (
        "a", "gpt-4", 3, False, [gpu],
    )  # fmt: skip
    [why] = (await site.provider.WhyUnmatched(provider_pb2.WhyUnmatchedRequest(), metadata=site.p1)).asks
    assert (why.bids, why.won, why.outbid, why.winning_price) == (1, 0, 1, "0.00089999")
    await site.sell("p1", price=why.winning_price)
    request = provider_pb2.WhyUnmatchedRequest(provider_id="p1")
    [now] = (await site.provider.WhyUnmatched(request, metadata=site.ops)).asks
    assert (now.won, list(now.lost)) == (1, [])
    assert (await site.market.Match(order("o2"), metadata=site.alice)).offer.provider_id == "p1"


async def test_a_spend_limit_refuses_and_says_what_is_left(site: Site) -> None:
    await site.fund()
    await site.sell()
    for limit in (
        credit_pb2.SetSpendLimitRequest(per_day="300", per_month="9000"),
        credit_pb2.SetSpendLimitRequest(per_month=""),  # lifted; what is not said stays
        credit_pb2.SetSpendLimitRequest(),
    ):
        now = await site.credit.SetSpendLimit(limit, metadata=site.alice)
    assert (now.per_day, now.per_month) == ("300.00000000", "")
    await site.market.Match(order("o1"), metadata=site.alice)
    status, reason, figures = await refused(site.market.Match(order("o2"), metadata=site.alice))
    assert (status, reason) == ("FAILED_PRECONDITION", "SPEND_LIMIT_REACHED")
    assert (figures["period"], figures["left"], figures["needed"]) == ("day", "100.00000000", "200.00000000")
    usage = common_pb2.Usage(prompt_tokens=100, completion_tokens=50)
    settled = provider_pb2.SettleRequest.COMPLETED
    request = provider_pb2.SettleRequest(provider_id="p1", order_id="o1", usage=usage, outcome=settled)
    await site.provider.Settle(request, metadata=site.p1)

    async def given_back() -> bool:
        now = await site.credit.GetSpendLimit(credit_pb2.GetSpendLimitRequest(), metadata=site.alice)
        return now.used_today == now.used_this_month == "150.00000000"

    await until_answer(given_back)
    spent = await site.credit.GetSpending(credit_pb2.GetSpendingRequest(account="alice"), metadata=site.ops)
    [row] = spent.rows
    assert (row.model, row.orders, row.charged, row.charged_usd) == ("gpt-4", 1, "150.00000000", "0.15")


async def test_keys_of_ones_own(site: Site) -> None:
    account = AccountServiceStub(site.channel)
    who = await account.WhoAmI(account_pb2.WhoAmIRequest(), metadata=site.p1)
    assert (who.account, who.role) == ("p1", "provider")
    made = await account.CreateOwnKey(account_pb2.CreateOwnKeyRequest(account="p1"), metadata=site.p1)
    other = {"authorization": f"Bearer {made.key}"}
    listed = await account.ListOwnKeys(account_pb2.ListOwnKeysRequest(), metadata=other)
    assert {key.key_id for key in listed.keys} == {who.key_id, made.key_id}
    assert {key.role for key in listed.keys} == {"provider"}
    theirs = account_pb2.RevokeOwnKeyRequest(key_id=made.key_id)
    assert not (await account.RevokeOwnKey(theirs, metadata=site.p2)).revoked
    assert (await account.WhoAmI(account_pb2.WhoAmIRequest(), metadata=other)).account == "p1"
    assert (await account.RevokeOwnKey(theirs, metadata=site.p1)).revoked


async def test_an_account_has_only_so_many_keys(site: Site) -> None:
    account = AccountServiceStub(site.channel)
    request = account_pb2.CreateOwnKeyRequest(account="alice")
    for _ in range(31):
        made = await account.CreateOwnKey(request, metadata=site.alice)
    status, reason, _ = await refused(account.CreateOwnKey(request, metadata=site.alice))
    assert (status, reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_KEYS")
    await account.RevokeOwnKey(account_pb2.RevokeOwnKeyRequest(key_id=made.key_id), metadata=site.alice)
    await account.CreateOwnKey(request, metadata=site.alice)


@pytest.mark.parametrize("site", [{"reconcile.quick_interval_ms": "100"}], indirect=True)
async def test_an_operator_sees_all_of_it(site: Site) -> None:
    await site.fund()
    await site.sell()
    await site.market.Match(order("o1"), metadata=site.alice)
    service, found = OperatorServiceStub(site.channel), dict[str, Any]()

    async def checked() -> bool:
        found["now"] = await service.GetOverview(operator_pb2.GetOverviewRequest(), metadata=site.ops)
        return {check.check for check in found["now"].checks} >= {"R2", "R4"}

    await until_answer(checked)
    now = found["now"]
    assert (now.live_asks, now.open_orders, now.models, now.payments_gateway) == (1, 1, 1, "local")
    assert all(check.ok for check in now.checks)
    assert [node.asks for node in now.nodes] == [1]
    assert list(now.cases) == []


async def test_onboarding_is_told_before_it_has_begun_and_after(site: Site) -> None:
    ask_for = payout_pb2.GetOnboardingRequest()
    before = await site.payout.GetOnboarding(ask_for, metadata=site.p1)
    assert (before.ready, before.blocked_by, before.country) == (False, "onboarding has not begun", "")
    assert (before.least_usd, before.automatic_usd) == ("1.00", "100.00")
    await site.payout.StartOnboarding(payout_pb2.StartOnboardingRequest(country="US"), metadata=site.p1)
    after = await site.payout.GetOnboarding(ask_for, metadata=site.p1)
    assert (after.ready, after.country) == (False, "US")
    assert after.blocked_by
