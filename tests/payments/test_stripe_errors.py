"""What an answer of Stripe, or the lack of one, means for money."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web

from gollem.config import ConfigError, PaymentsConfig
from gollem.errors import (
    GollemError,
    InvariantBroken,
    OutcomeUnknown,
    PaymentFault,
    PaymentRefused,
    PaymentsUnavailable,
)
from gollem.payments import stripe_gateway
from gollem.payments.stripe_gateway import StripeGateway
from gollem.payments.types import PaymentOrder
from tests.fakes.clock import FakeClock

KEY = "sk_test_51_not_to_be_told"
SETTINGS = PaymentsConfig(stripe_key=KEY, webhook_secrets="whsec_1", connect_secrets="whsec_2")
ORDER = PaymentOrder("buy-1", 2_500)


class Server:
    """Answers whatever it is told to, to everything."""

    def __init__(self) -> None:
        self.status = 200
        self.body = "{}"
        self.breaks = ""  # "before" or "within" its answer; or it "never" comes
        self.calls = 0
        self.over = asyncio.Event()

    def says(self, status: int, error: object) -> None:
        self.status, self.body = status, json.dumps({"error": error})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        await request.read()
        assert request.transport is not None
        if self.breaks == "never":
            await self.over.wait()
        if self.breaks == "before":
            request.transport.abort()
            return web.Response()
        answer = web.StreamResponse(status=self.status, headers={"Content-Length": str(len(self.body))})
        answer.content_type = "application/json"
        await answer.prepare(request)
        if self.breaks == "within":
            request.transport.abort()
            return answer
        await answer.write(self.body.encode())
        return answer


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def gateway(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StripeGateway]:
    monkeypatch.setattr(stripe_gateway, "_TIMEOUT_S", 0.3)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    opened = StripeGateway(replace(SETTINGS, stripe_url=f"http://127.0.0.1:{port}"), FakeClock())
    yield opened
    await opened.close()
    server.over.set()
    await runner.cleanup()


async def pay(gateway: StripeGateway) -> GollemError:
    with pytest.raises(GollemError) as failed:
        await gateway.create_payment(ORDER, "purchase.buy-1:0")
    return failed.value


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, {"type": "invalid_request_error", "code": "amount_too_small"}, PaymentRefused),
        (402, {"type": "card_error", "code": "card_declined", "message": "Your card was declined."}, PaymentRefused),
        (404, {"type": "invalid_request_error", "code": "resource_missing"}, PaymentRefused),
        (403, {"type": "invalid_request_error", "code": "account_invalid"}, PaymentRefused),
        (400, {"type": "idempotency_error", "message": "Keys for idempotent requests ..."}, InvariantBroken),
        (401, {"type": "invalid_request_error", "message": f"Invalid API Key provided: {KEY}"}, PaymentsUnavailable),
        (403, {"type": "invalid_request_error", "message": "permissions"}, PaymentsUnavailable),
        (409, {"type": "invalid_request_error", "code": "lock_timeout"}, PaymentsUnavailable),
        (409, {"type": "idempotency_error", "code": "idempotency_key_in_use"}, OutcomeUnknown),
        (429, {"type": "invalid_request_error", "code": "rate_limit"}, PaymentsUnavailable),
        (429, {"type": "invalid_request_error", "code": "lock_timeout"}, PaymentsUnavailable),
        (500, {"type": "api_error"}, PaymentFault),
        (503, {"type": "api_error"}, PaymentFault),
    ],
)
async def test_an_answer_means(
    gateway: StripeGateway, server: Server, status: int, error: object, expected: type[GollemError]
) -> None:
    server.says(status, error)
    assert type(await pay(gateway)) is expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (502, "<html>Bad Gateway</html>", PaymentFault),
        (200, '{"id": "pi_1", "amou', OutcomeUnknown),
        (400, "what?", PaymentRefused),
        (500, '["no error"]', PaymentFault),
    ],
)
async def test_an_answer_that_cannot_be_read_means(
    gateway: StripeGateway, server: Server, status: int, body: str, expected: type[GollemError]
) -> None:
    server.status, server.body = status, body
    assert type(await pay(gateway)) is expected


@pytest.mark.parametrize("breaks", ["never", "before", "within"])
async def test_no_whole_answer_is_an_unknown_outcome(gateway: StripeGateway, server: Server, breaks: str) -> None:
    server.breaks = breaks
    assert type(await pay(gateway)) is OutcomeUnknown
    assert server.calls == 1, "whether to ask again is decided above"


async def test_what_was_never_sent_has_not_happened() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        gateway = StripeGateway(
            replace(SETTINGS, stripe_url=f"http://127.0.0.1:{closed.getsockname()[1]}"), FakeClock()
        )
        assert type(await pay(gateway)) is PaymentsUnavailable
        await gateway.close()


@pytest.mark.parametrize("code", ["resource_missing", "account_invalid"])
async def test_an_object_that_is_not_there_is_none(gateway: StripeGateway, server: Server, code: str) -> None:
    server.says(404 if code == "resource_missing" else 403, {"type": "invalid_request_error", "code": code})
    assert await gateway.account("acct_1") is None


async def test_a_fetch_that_fails_is_not_none(gateway: StripeGateway, server: Server) -> None:
    server.says(500, {"type": "api_error"})
    with pytest.raises(PaymentFault):
        await gateway.account("acct_1")


async def test_a_declined_card_is_told_in_stripes_words(gateway: StripeGateway, server: Server) -> None:
    server.says(402, {"type": "card_error", "code": "card_declined", "message": "Your card was declined."})
    refused = await pay(gateway)
    assert (refused.message, refused.figures["code"]) == ("Your card was declined.", "card_declined")


async def test_other_refusals_are_told_by_their_code_and_logged(
    gateway: StripeGateway, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.says(400, {"type": "invalid_request_error", "code": "balance_insufficient", "message": "acct_7 lacks it"})
    refused = await pay(gateway)
    assert "acct_7" not in refused.message
    assert refused.figures["code"] == "balance_insufficient"
    assert "acct_7 lacks it" in caplog.text


async def test_a_key_that_is_not_accepted_is_named_by_its_setting_alone(
    gateway: StripeGateway, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.says(401, {"type": "invalid_request_error", "message": f"Invalid API Key provided: {KEY}"})
    refused = await pay(gateway)
    assert "payments.stripe_key" in refused.message
    assert KEY not in f"{refused!r} {refused.figures} {refused.__cause__!r} {caplog.text}"


async def test_a_client_secret_is_neither_shown_nor_logged(
    gateway: StripeGateway, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    intent = {"id": "pi_1", "object": "payment_intent", "status": "requires_payment_method", "amount": 2_500}
    intent |= {"currency": "usd", "livemode": False, "created": 1, "client_secret": "pi_1_secret_xyz"}
    server.body = json.dumps(intent)
    made = await gateway.create_payment(ORDER, "purchase.buy-1:0")
    assert made.client_secret == "pi_1_secret_xyz"
    assert "xyz" not in f"{made!r} {caplog.text}"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("stripe_key", ""),
        ("stripe_key", "pk_test_51_public"),
        ("stripe_key", "sk_test_"),
        ("webhook_secrets", ""),
        ("webhook_secrets", "whsec_1,,whsec_2"),
        ("connect_secrets", " "),
    ],
)
def test_settings_that_cannot_be_right_are_refused_without_being_repeated(setting: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"payments.{setting}") as refused:
        StripeGateway(replace(SETTINGS, **{setting: value}), FakeClock())
    assert not value.strip(" ,") or value not in str(refused.value).replace("sk_test_...", "")


def test_a_live_key_never_leaves_unencrypted() -> None:
    with pytest.raises(ConfigError, match="stripe_url: a live key"):
        StripeGateway(replace(SETTINGS, stripe_key="rk_live_51", stripe_url="http://stripe.test"), FakeClock())


def test_the_vendors_own_log_stays_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_LOG", "debug")
    with pytest.raises(ConfigError, match="STRIPE_LOG"):
        StripeGateway(SETTINGS, FakeClock())


@pytest.mark.parametrize(
    ("key", "livemode"), [("sk_live_1", True), ("rk_live_1", True), ("sk_test_1", False), ("rk_test_1", False)]
)
def test_the_key_says_whether_money_is_real(key: str, livemode: bool) -> None:
    assert StripeGateway(replace(SETTINGS, stripe_key=key), FakeClock()).livemode is livemode
