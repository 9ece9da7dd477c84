"""The door for HTTP: what is signed is stored before it is acknowledged, all else is sent away, and all is bounded."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gollem.bridge import Bridge, server
from gollem.bridge.server import MAX_BODY_BYTES
from gollem.config import BridgeConfig, ConfigError
from gollem.errors import LedgerUnavailable
from gollem.ledger import records
from gollem.payments import webhooks
from gollem.payments.webhooks import PATH, Webhooks
from tests.payments.shop import ON_EVERY_LEDGER, ON_ONE_LEDGER, USD, Shop
from tests.until import WITHIN_S, until


@pytest.fixture
def hooks(shop: Shop) -> Webhooks:
    return Webhooks(shop.inbox)


@pytest.fixture
async def bridge(hooks: Webhooks) -> AsyncIterator[Bridge]:
    opened = Bridge(BridgeConfig(port=0), hooks.routes())
    await opened.start()
    yield opened
    await opened.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


def bridge_of(shop: Shop, *routes: web.AbstractRouteDef, port: int = 0) -> Bridge:
    return Bridge(BridgeConfig(port=port), [*Webhooks(shop.inbox).routes(), *routes])


def url(bridge: Bridge, path: str = PATH) -> str:
    return f"http://127.0.0.1:{bridge.port}{path}"


async def post(
    http: aiohttp.ClientSession, bridge: Bridge, raw: bytes, signature: str | None, **more: Any
) -> tuple[int, str]:
    headers = {"Stripe-Signature": signature} if signature is not None else {}
    async with http.post(url(bridge), data=raw, headers=headers | more.pop("headers", {}), **more) as answer:
        return answer.status, await answer.text()


async def get(http: aiohttp.ClientSession, bridge: Bridge, path: str) -> tuple[int, str]:
    async with http.get(url(bridge, path)) as answer:
        return answer.status, await answer.text()


@ON_EVERY_LEDGER
async def test_a_purchase_from_its_creation_to_its_credits(shop: Shop, bridge: Bridge) -> None:
    """Told over HTTP, everything twice and in any order."""
    created = await shop.purchases.create("alice", "buy-1", 2_500)
    shop.stripe.pay(created.purchase.text("payment_id"))
    statuses = await shop.stripe.webhooks.deliver(url(bridge), duplicate=1, reorder=True)
    assert set(statuses) == {200}
    assert await shop.available() == 0  # stored, and handled by a worker
    while await shop.inbox.work():
        pass
    assert await shop.available() == 25 * USD


async def test_what_is_acknowledged_is_stored(shop: Shop, bridge: Bridge, http: aiohttp.ClientSession) -> None:
    raw, signature = signed(shop)
    assert await post(http, bridge, raw, signature) == (200, "")
    assert len(await shop.ledger.records(records.EVENT, "NEW")) == 1


# --- fault 41 -------------------------------------------------------------------------------------------------------


def signed(shop: Shop, **changes: Any) -> tuple[bytes, str]:
    thing = {"id": "pi_1", "object": "payment_intent", "metadata": {}}
    return shop.stripe.webhooks.forge(
        "payment_intent.succeeded", thing, **({"secret": shop.stripe.webhooks.platform_secrets[0]} | changes)
    )


BAD = {
    "no signature": lambda shop, now_s: (signed(shop)[0], None),
    "an empty one": lambda shop, now_s: (signed(shop)[0], ""),
    "nonsense": lambda shop, now_s: (signed(shop)[0], "t=,v1=" + "é" * 9),
    "a stranger's": lambda shop, now_s: signed(shop, secret="whsec_of_a_stranger"),
    "of an empty secret": lambda shop, now_s: signed(shop, secret=""),
    "too old": lambda shop, now_s: signed(shop, at_s=now_s - 301),
    "of the future": lambda shop, now_s: signed(shop, at_s=now_s + 301),
    "of the other endpoint": lambda shop, now_s: signed(shop, account="acct_1"),
    "another body": lambda shop, now_s: (signed(shop)[0].replace(b"pi_1", b"pi_2"), signed(shop)[1]),
    "the body written anew": lambda shop, now_s: (signed(shop)[0].replace(b": ", b":"), signed(shop)[1]),
    "no body": lambda shop, now_s: (b"", signed(shop)[1]),
    "signed, and no event": lambda shop, now_s: (
        b"[]",
        shop.stripe.webhooks.sign(b"[]", shop.stripe.webhooks.platform_secrets[0]),
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_fault_41_refused_without_a_word_and_nothing_is_stored(
    shop: Shop, bridge: Bridge, http: aiohttp.ClientSession, bad: Any
) -> None:
    raw, signature = bad(shop, shop.clock.now_ms() // 1_000)
    assert await post(http, bridge, raw, signature) == (400, "")
    assert await shop.ledger.records(records.EVENT, "NEW") == []


@ON_ONE_LEDGER
async def test_events_of_the_other_mode_are_counted_and_not_stored(
    shop: Shop, hooks: Webhooks, bridge: Bridge, http: aiohttp.ClientSession
) -> None:
    """A live endpoint of connected accounts is told of test money too: answered 4xx it would be switched off."""
    assert await post(http, bridge, *signed(shop, livemode=True)) == (200, "")
    assert await shop.ledger.records(records.EVENT, "NEW") == []
    assert hooks.counts == {"other_mode": 1}


@ON_ONE_LEDGER
@pytest.mark.parametrize("offset_s", [-299, 299])
async def test_clocks_may_differ_a_little(
    shop: Shop, bridge: Bridge, http: aiohttp.ClientSession, offset_s: int
) -> None:
    raw, signature = signed(shop, at_s=shop.clock.now_ms() // 1_000 + offset_s)
    assert await post(http, bridge, raw, signature) == (200, "")


# --- bounds ---------------------------------------------------------------------------------------------------------


@ON_ONE_LEDGER
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_that_is_too_large_is_not_read(
    shop: Shop, bridge: Bridge, http: aiohttp.ClientSession, is_chunked: bool
) -> None:
    raw = b"x" * (MAX_BODY_BYTES + 1)

    async def chunks() -> AsyncIterator[bytes]:
        yield raw

    status, text = await post(http, bridge, chunks() if is_chunked else raw, "t=1,v1=1")  # type: ignore[arg-type]
    assert (status, text) == (413, "")


@ON_ONE_LEDGER
async def test_the_largest_body_is_read(shop: Shop, bridge: Bridge, http: aiohttp.ClientSession) -> None:
    raw, _ = signed(shop)
    raw += b" " * (MAX_BODY_BYTES - len(raw))
    signature = shop.stripe.webhooks.sign(raw, shop.stripe.webhooks.platform_secrets[0])
    assert await post(http, bridge, raw, signature) == (200, "")


@ON_ONE_LEDGER
async def test_a_body_is_never_unpacked(shop: Shop, bridge: Bridge, http: aiohttp.ClientSession) -> None:
    """A small body that would be a large one: its signature is of what came."""
    status, _ = await post(http, bridge, b"\x1f\x8b" + b"\0" * 99, "t=1,v1=1", headers={"Content-Encoding": "gzip"})
    assert status == 400


@ON_ONE_LEDGER
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PATH, 405),
        ("PUT", PATH, 405),
        ("DELETE", PATH, 405),
        ("POST", "/healthz", 405),
        ("POST", "/", 404),
        ("GET", "/", 404),
        ("POST", PATH + "/x", 404),
        ("GET", "/metrics", 404),
        ("GET", "/healthz/../secrets", 404),
    ],
)
async def test_nothing_else_is_served(
    bridge: Bridge, http: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with http.request(method, url(bridge, path)) as answer:
        assert answer.status == status
        (info,) = (await answer.json())["details"]
        assert info["reason"] == "NO_SUCH_ROUTE"


@ON_ONE_LEDGER
async def test_when_the_ledger_is_away_stripe_is_to_try_again(shop: Shop, http: aiohttp.ClientSession) -> None:
    class Away:
        async def find_record(self, kind: str, record_id: str) -> None:
            raise LedgerUnavailable("away")

    away = Shop(Away(), shop.gateway, shop.clock, shop.stripe)  # type: ignore[arg-type]
    async with serving(away) as bridge:
        assert await post(http, bridge, *signed(shop)) == (503, "")


@ON_ONE_LEDGER
async def test_a_ledger_that_hangs_is_not_waited_for(
    shop: Shop, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hangs:
        async def find_record(self, kind: str, record_id: str) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(webhooks, "REQUEST_S", 0.05)
    async with serving(Shop(Hangs(), shop.gateway, shop.clock, shop.stripe)) as bridge:  # type: ignore[arg-type]
        assert await post(http, bridge, *signed(shop)) == (503, "")


@ON_ONE_LEDGER
async def test_only_so_many_are_stored_at_once(
    shop: Shop, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, waiting = asyncio.Event(), []

    class Slow:
        async def find_record(self, kind: str, record_id: str) -> None:
            waiting.append(record_id)
            await gate.wait()
            raise LedgerUnavailable("away")

    monkeypatch.setattr(webhooks, "MAX_AT_ONCE", 2)
    async with serving(Shop(Slow(), shop.gateway, shop.clock, shop.stripe)) as bridge:  # type: ignore[arg-type]
        first = [asyncio.create_task(post(http, bridge, *signed(shop))) for _ in range(2)]
        await until(lambda: len(waiting) == 2)
        assert await post(http, bridge, *signed(shop)) == (503, "")
        gate.set()
        await asyncio.gather(*first)
        assert len(waiting) == 2


@ON_ONE_LEDGER
async def test_who_never_finishes_is_cut_off(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTION_S", 0.05)
    async with serving(shop) as bridge:
        reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
        writer.write(b"POST /webhooks/stripe HTTP/1.1\r\nHost: ")
        assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
        writer.close()


@ON_ONE_LEDGER
async def test_who_hangs_up_halfway_is_no_error(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """Anybody can, as often as he likes: it must not fill the log."""
    _, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    writer.write(b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    await until(lambda: bridge._http.connections == 1)
    writer.transport.abort()
    await until(lambda: bridge._http.connections == 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@ON_ONE_LEDGER
async def test_a_connection_too_many_is_turned_away(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    async with serving(shop) as bridge:
        _, first = await asyncio.open_connection("127.0.0.1", bridge.port)
        first.write(b"GET /he")
        await until(lambda: bridge._http.connections == 1)
        reader, second = await asyncio.open_connection("127.0.0.1", bridge.port)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
        for writer in (first, second):
            writer.close()


@ON_ONE_LEDGER
async def test_one_request_a_connection(bridge: Bridge, http: aiohttp.ClientSession) -> None:
    async with http.get(url(bridge, "/healthz")) as answer:
        assert answer.headers["Connection"] == "close"


# --- beside it ------------------------------------------------------------------------------------------------------


@ON_ONE_LEDGER
async def test_health_and_counts(shop: Shop, hooks: Webhooks, bridge: Bridge, http: aiohttp.ClientSession) -> None:
    assert await get(http, bridge, "/healthz") == (200, "ok\n")
    for _ in range(2):
        await post(http, bridge, *signed(shop))
    await post(http, bridge, b"{}", "t=1,v1=1")
    await shop.inbox.work()
    assert hooks.counts == {"stored": 1, "known": 1, "refused": 1}
    assert shop.inbox.counts == {"stored": 1, "done": 1}


@ON_ONE_LEDGER
async def test_neither_bodies_nor_signatures_are_logged(
    shop: Shop, bridge: Bridge, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        raw, signature = signed(shop)
        await post(http, bridge, raw, signature)
        await post(http, bridge, raw, signature[:-1] + "0")
        await post(http, bridge, b'{"client_secret": "pi_1_secret_2"}', "t=1,v1=abcdef")
    assert "UNAUTHENTICATED" in caplog.text
    ours = "\n".join(one.getMessage() for one in caplog.records if one.name.startswith(("gollem", "aiohttp")))
    for hidden in (signature.partition("v1=")[2], "abcdef", "client_secret", "pi_1"):
        assert hidden not in ours


@ON_ONE_LEDGER
async def test_other_pages_may_be_added(shop: Shop, http: aiohttp.ClientSession) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="pay here")

    async with serving(shop, web.get("/pay", page)) as bridge:
        assert await get(http, bridge, "/pay") == (200, "pay here")


@ON_ONE_LEDGER
async def test_stopping_twice_and_a_port_that_is_taken(shop: Shop, bridge: Bridge) -> None:
    with pytest.raises(ConfigError, match=r"bridge\.port: cannot listen on .*address already in use"):
        await bridge_of(shop, port=bridge.port).start()
    await bridge.stop()
    await bridge.stop()


class serving:
    """A bridge of its own for a while."""

    def __init__(self, shop: Shop, *routes: web.AbstractRouteDef) -> None:
        self._bridge = bridge_of(shop, *routes)

    async def __aenter__(self) -> Bridge:
        await self._bridge.start()
        return self._bridge

    async def __aexit__(self, *_: object) -> None:
        await self._bridge.stop()
