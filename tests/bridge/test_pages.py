"""The dashboard's pages over the wire: what a browser may do with them, and what it need not load again."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from gollem.bridge import Bridge, dashboard
from gollem.bridge.pages import FOLDER, policy
from gollem.config import BridgeConfig, ConfigError, load


@pytest.fixture
async def url() -> AsyncIterator[str]:
    bridge = Bridge(BridgeConfig(port=0), dashboard("local", "pk_test_1"))
    await bridge.start()
    yield bridge.url
    await bridge.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


async def test_every_page_has_the_policy_its_type_and_a_tag(url: str, http: aiohttp.ClientSession) -> None:
    paths = ["/", *(f"/{file.relative_to(FOLDER)}" for file in FOLDER.rglob("*.*"))]
    paths.remove("/index.html")
    assert len(paths) > 30
    for path in paths:
        async with http.get(url + path) as answer:
            assert answer.status == 200, path
            assert answer.headers["Content-Security-Policy"] == policy("local")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Type"].partition("/")[0] in {"text", "image", "font"}
            tag = answer.headers["ETag"]
        async with http.get(url + path, headers={"If-None-Match": tag}) as again:
            assert (again.status, await again.read()) == (304, b"")


async def test_nothing_else_is_there(url: str, http: aiohttp.ClientSession) -> None:
    for path in ("/index.html", "/js/", "/js/none.js", "/../config.py", "/%2e%2e/config.py", "/js/..%2f..%2fconfig.py"):
        async with http.get(url + path) as answer:
            assert answer.status == 404, path
    async with http.post(url + "/") as answer:
        assert answer.status == 405


async def test_the_page_is_told_who_takes_the_money(url: str, http: aiohttp.ClientSession) -> None:
    async with http.get(url + "/dashboard.json") as answer:
        assert await answer.json() == {"gateway": "local", "stripePublishableKey": "pk_test_1"}


def test_only_with_stripe_may_anything_come_from_elsewhere() -> None:
    for gateway in ("none", "local"):
        assert "https:" not in policy(gateway)
    assert "script-src 'self' https://js.stripe.com" in policy("stripe")
    for gateway in ("none", "local", "stripe"):
        assert "default-src 'none'" in policy(gateway)
        assert "unsafe" not in policy(gateway)
        assert "*" not in policy(gateway).replace("https://*.js.stripe.com", "")


def test_the_pages_need_nothing_inline_and_nothing_from_elsewhere() -> None:
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script>|https?://", page)
    for file in [*(FOLDER / "js").rglob("*.js"), *(FOLDER / "style").glob("*.css")]:
        text = file.read_text()
        assert "innerHTML" not in text, file
        elsewhere = [found for found in re.findall(r"https?://[^\s\"'`)]+", text) if "localhost" not in found]
        assert elsewhere in ([], ["https://js.stripe.com/v3/"]), file


def test_a_setting_that_moved_is_still_understood() -> None:
    told = load(overrides={"payments.webhook_port": "9000", "payments.webhook_host": "127.0.0.2"}).bridge
    assert (told.port, told.host) == (9000, "127.0.0.2")
    with pytest.raises(ConfigError, match=r"bridge\.dashboard: must be true or false, not 'yes'"):
        load(overrides={"bridge.dashboard": "yes"})


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        ("GET / HTTP/1.1\r\nx-token: " + "s3cret" * 2_000, 431, "TOO_LARGE"),
        ("GET /" + "s3cret" * 2_000 + " HTTP/1.1", 431, "TOO_LARGE"),
        ("GET / HTTP/9.9\r\ns3cret: 1", 400, "INVALID_MESSAGE"),
        ("GET / HTTP/1.1\r\ns3cret token: 1", 400, "INVALID_MESSAGE"),
        ("POST / HTTP/1.1\r\ncontent-length: s3cret", 400, "INVALID_MESSAGE"),
        ("GET / HTTP/1.1\r\nexpect: s3cret", 417, "INVALID_MESSAGE"),
        ("s3cret", 400, "INVALID_MESSAGE"),
    ],
)
async def test_what_cannot_be_read_is_refused_and_neither_told_back_nor_logged(
    url: str, sent: str, status: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise anybody could fill the log, with what he sent in it, or have a browser shown what he made it send."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{sent}\r\nhost: x\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    writer.close()
    assert int(head.split()[1]) == status
    assert json.loads(body)["details"][0]["reason"] == reason
    assert b"s3cret" not in head + body
    assert caplog.records == []


async def test_a_fault_of_ours_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: web.Request) -> web.Response:
        raise RuntimeError("ours")

    bridge = Bridge(BridgeConfig(port=0), [web.get("/", fail)])
    await bridge.start()
    async with aiohttp.ClientSession() as session, session.get(bridge.url) as answer:
        assert answer.status == 500
    await bridge.stop()
    assert "RuntimeError: ours" in caplog.text
