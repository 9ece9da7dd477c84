"""Attacks by many at once, by bids that wait for ever, with keys that are revoked, and by too many calls."""

import asyncio
from pathlib import Path
from typing import Any

from grpclib.client import Channel
from grpclib.exceptions import GRPCError

from gollem.app import App
from gollem.config import load
from gollem.identity import Role, open_key_store
from gollem.rpc.pb import admin_pb2, credit_pb2, market_pb2
from gollem.rpc.pb.market_grpc import MarketServiceStub
from grpclib_guard import fault_info
from tests.rpc.attacks.conftest import SLOTS, balance_of, cancel
from tests.rpc.conftest import SETTINGS, Site, order, refused
from tests.rpc.test_main_job import report, settle
from tests.until import until_answer

# --- (g), (h) many at once -------------------------------------------------------------------------------------------


async def test_two_hundred_at_once_with_funds_for_seven(site: Site, capacity: dict[str, Any]) -> None:
    await site.sell(capacity_slots=1_000, capacity_tokens=10**6)
    capacity["p1/a"] = (1_000, 10**6)
    await site.fund(amount="1599.99999999")
    calls = [site.market.Match(order(f"o{number}"), metadata=site.alice) for number in range(200)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refusals = {fault_info(answer)[0] for answer in answers if isinstance(answer, GRPCError)}
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 7
    assert refusals == {"INSUFFICIENT_CREDITS"}
    balance = await balance_of(site, "alice")
    assert (balance.available, balance.held) == ("199.99999999", "1400.00000000")


async def test_a_storm_of_one_order_id_is_one_order(site: Site, capacity: dict[str, Any]) -> None:
    await site.sell(capacity_slots=1_000, capacity_tokens=10**6)
    capacity["p1/a"] = (1_000, 10**6)
    await site.fund(amount="100000")
    calls = [site.market.Match(order("o1", max_tokens=100 + number % 10), metadata=site.alice) for number in range(200)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    matched = [answer for answer in answers if not isinstance(answer, BaseException)]
    refusals = {fault_info(answer)[0] for answer in answers if isinstance(answer, GRPCError)}
    assert len(matched) == 20
    assert len({(answer.grant, answer.held) for answer in matched}) == 1
    assert sum(not answer.replayed for answer in matched) == 1
    assert refusals == {"DUPLICATE_ORDER_MISMATCH"}
    assert (await balance_of(site, "alice")).held == matched[0].held


# --- (k) resting bids ------------------------------------------------------------------------------------------------


async def _resting(site: Site) -> int:
    books = await site.market.GetOrderBook(market_pb2.GetOrderBookRequest(model="gpt-4"), metadata=site.ops)
    return books.models[0].resting_bids


async def _report_all_the_time(site: Site) -> None:
    """Each report may make room, so that every waiting bid is tried again."""
    for sequence in range(1, 10**6):
        await site.provider.PostStatus(report(sequence=sequence), metadata=site.p1)
        await asyncio.sleep(0.01)


async def test_ten_thousand_hopeless_bids_do_not_hold_up_a_match(site: Site, capacity: dict[str, Any]) -> None:
    await site.sell(capacity_slots=1_000, capacity_tokens=10**6)
    capacity["p1/a"] = (1_000, 10**6)
    await site.fund()
    crowd = Channel("127.0.0.1", site.app.port)
    streams = []
    for number in range(40):
        key = await site.key(f"crowd{number}", Role.CONSUMER)
        await site.fund(f"crowd{number}", "1")
        streams.append(MarketServiceStub(crowd).MatchStream.open(metadata=key))
        await streams[-1].__aenter__()
    for number in range(10_000):
        hopeless = order(f"r{number}", max_price="0.00000001")
        hopeless.good_for_ms = 600_000
        await streams[number % 40].send_message(hopeless)

    async def all_rest() -> bool:
        return await _resting(site) == 10_000

    await until_answer(all_rest)
    reporting = asyncio.ensure_future(_report_all_the_time(site))
    try:
        for number in range(30):
            name = f"crowded{number}"
            await site.market.Match(order(name, prompt_tokens=1, max_tokens=1), metadata=site.alice, timeout=5)
    finally:
        reporting.cancel()
    one_more = order("more", max_price="0.00000001")
    one_more.good_for_ms = 600_000
    assert (await refused(site.market.Match(one_more, metadata=site.alice)))[1] == "TOO_MANY_STREAMS"
    for stream in streams:
        await stream.cancel()

    async def none_rests() -> bool:
        return await _resting(site) == 0

    await until_answer(none_rests)
    crowd.close()


async def test_a_storm_of_cancels_ends_each_wait_once(site: Site) -> None:
    await site.fund()
    waiting = []
    for number in range(100):
        request = order(f"r{number}")
        request.good_for_ms = 60_000
        waiting.append(asyncio.ensure_future(site.market.Match(request, metadata=site.alice)))

    async def all_rest() -> bool:
        return await _resting(site) == 100

    await until_answer(all_rest)
    cancels = await asyncio.gather(*(cancel(site, f"r{number % 100}") for number in range(300)), return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in cancels) == 100
    assert {fault_info(each)[0] for each in cancels if isinstance(each, GRPCError)} == {"UNKNOWN_ORDER"}
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert {fault_info(each)[0] for each in ended if isinstance(each, GRPCError)} == {"ORDER_CANCELLED"}
    assert len(ended) == 100
    await site.sell()


# --- (l) revoked keys, (m) too many calls ----------------------------------------------------------------------------


async def _revoke(site: Site, account: str) -> None:
    keys = await site.admin.ListKeys(admin_pb2.ListKeysRequest(account=account), metadata=site.ops)
    for key in keys.keys:
        await site.admin.RevokeKey(admin_pb2.RevokeKeyRequest(key_id=key.key_id), metadata=site.ops)


async def _is_refused(site: Site, key: dict[str, str]) -> bool:
    try:
        await site.market.GetOrderBook(market_pb2.GetOrderBookRequest(), metadata=key)
    except GRPCError as error:
        return fault_info(error)[0] == "UNAUTHENTICATED"
    return False


async def test_a_revoked_providers_stream_ends_and_it_settles_nothing(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    ended = ""
    try:
        async with site.provider.Telemetry.open(metadata=site.p1) as line:
            await line.send_message(report())
            await line.recv_message()
            await _revoke(site, "p1")
            await until_answer(lambda: _is_refused(site, site.p1))
            await line.send_message(report(sequence=2))
            await line.recv_message()
    except GRPCError as error:
        ended = fault_info(error)[0]
    assert ended == "UNAUTHENTICATED"
    for call in (site.provider.Settle(settle(), metadata=site.p1), site.sell()):
        assert (await refused(call))[1] == "UNAUTHENTICATED"
    held = (await balance_of(site, "alice")).held
    assert held == "200.00000000", "its deadline gives it back, or another key settles"
    again = await site.key("p1", Role.PROVIDER)
    assert (await site.provider.Settle(settle(), metadata=again)).charged == "101.00000000"


async def test_a_revoked_consumers_stream_matches_no_more(site: Site) -> None:
    await site.sell(capacity_slots=SLOTS)
    await site.fund()
    async with site.market.MatchStream.open(metadata=site.alice) as stream:
        await stream.send_message(order("bad id"))
        await stream.recv_message()
        await _revoke(site, "alice")
        await until_answer(lambda: _is_refused(site, site.alice))
        await stream.send_message(order())
        answer = await stream.recv_message()
        assert answer is not None
        assert answer.refusal.reason == "UNAUTHENTICATED"
        await stream.end()
    assert (await balance_of(site, "alice")).held == "0.00000000"


async def test_the_rate_limit_counts_messages_and_touches_nobody_else(site: Site, tmp_path: Path) -> None:
    slow = {"server.requests_per_second": "1", "server.burst": "5", "storage.data": str(tmp_path / "slow")}
    app = App(load(overrides=SETTINGS | slow))
    await app.start()
    channel = Channel("127.0.0.1", app.port)
    keys = await open_key_store(tmp_path / "slow")
    other = Site(app, channel, keys)
    await other.connect()
    try:
        await other.sell()  # p1's first
        async with other.market.MatchStream.open(metadata=other.alice) as stream:  # alice's first
            for number in range(8):
                await stream.send_message(order(f"o{number}"))
            await stream.end()
            refusals = [answer.refusal async for answer in stream]
        limited = [each for each in refusals if each.reason == "RATE_LIMITED"]
        assert (len(refusals), len(limited)) == (8, 4)
        assert all(0 < int(each.figures["retry_after_ms"]) <= 1_000 for each in limited)
        status, reason, figures = await refused(other.credit.Balance(credit_pb2.BalanceRequest(), metadata=other.alice))
        assert (status, reason, figures["limit"]) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED", "1")
        await other.credit.Balance(credit_pb2.BalanceRequest(), metadata=other.bob)

        async def report_often() -> None:
            async with other.provider.Telemetry.open(metadata=other.p1) as line:
                for sequence in range(1, 10):
                    await line.send_message(report(sequence=sequence))
                    await line.recv_message()

        assert (await refused(report_often()))[1] == "RATE_LIMITED"
    finally:
        channel.close()
        await keys.close()
        await app.stop()
