"""A bid that is refused before the exchange hears of it is counted too, under a label that no caller can choose."""

import aiohttp

from gollem.app import App
from gollem.rpc.pb import common_pb2, market_pb2
from tests.rpc.conftest import Site, bid, order, refused


async def test_bids_for_models_that_are_not_known_are_counted_under_one_name(site: Site) -> None:
    for name in ("gpt-9", "mine"):
        told = await refused(site.market.Match(order(model=name), metadata=site.alice))
        assert told[1] == "UNKNOWN_MODEL"
    async with site.market.MatchStream.open(metadata=site.alice) as stream:
        await stream.send_message(order("o2", model="gpt-9"), end=True)
        answer = await stream.recv_message()
        assert answer is not None
        assert answer.refusal.reason == "UNKNOWN_MODEL"
    assert (await refused(generated(site)))[1] == "UNKNOWN_MODEL"
    await refused(site.market.Quote(market_pb2.QuoteRequest(bid=bid(model="gpt-9")), metadata=site.alice))  # no bid
    lines = [line for line in await exposed(site.app) if line.startswith("gollem_match_refusals_total{")]
    assert lines == ['gollem_match_refusals_total{model="unknown",reason="UNKNOWN_MODEL"} 4.0']


async def generated(site: Site) -> None:
    hello = common_pb2.ChatMessage(role="user", content="Hello.")
    request = market_pb2.MarketGenerateRequest(order_id="o3", bid=bid(model="gpt-9"), messages=[hello])
    async with site.market.Generate.open(metadata=site.alice) as stream:
        await stream.send_message(request, end=True)
        await stream.recv_message()


async def exposed(app: App) -> list[str]:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http,
        http.get(f"http://127.0.0.1:{app.metrics_port}/metrics") as answer,
    ):
        return (await answer.text()).splitlines()
