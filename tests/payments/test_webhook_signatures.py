"""Which webhooks the gateway believes. Signed here by the vendor's own code."""

import json
from dataclasses import replace
from typing import Any

import pytest
import stripe as vendor

from gollem.config import PaymentsConfig
from gollem.errors import Forbidden, GollemError, InvalidField, OtherMode, Unauthenticated
from gollem.payments.stripe_gateway import StripeGateway
from tests.fakes.clock import FakeClock

NOW_MS = 1_700_000_000_000
PLATFORM, ROTATED, CONNECT, STRANGE = "whsec_platform", "whsec_platform_new", "whsec_connect", "whsec_of_a_stranger"
SETTINGS = PaymentsConfig(stripe_key="sk_test_1", webhook_secrets=f"{PLATFORM}, {ROTATED}", connect_secrets=CONNECT)
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "payment_intent.succeeded",
    "created": 1_699_999_990,
    "livemode": False,
    "data": {"object": {"id": "pi_1", "object": "payment_intent", "metadata": {"purchase_id": "buy-1"}}},
}
CONNECTED = EVENT | {"account": "acct_1", "type": "payout.paid", "data": {"object": {"id": "po_1", "metadata": {}}}}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MS)


@pytest.fixture
def gateway(clock: FakeClock) -> StripeGateway:
    return StripeGateway(SETTINGS, clock)


def body(event: dict[str, Any]) -> bytes:
    return json.dumps(event, indent=2).encode()


def signature(raw: bytes, secret: str, at_ms: int = NOW_MS) -> str:
    return vendor.WebhookSignature.generate_signature_header(raw.decode(), secret, at_ms // 1_000)


def refusal(gateway: StripeGateway, raw: bytes, header: str) -> type[GollemError]:
    with pytest.raises(GollemError) as refused:
        gateway.read_event(raw, header)
    return type(refused.value)


@pytest.mark.parametrize("secret", [PLATFORM, ROTATED])
def test_an_event_of_the_platform_is_read_under_each_of_its_secrets(gateway: StripeGateway, secret: str) -> None:
    event = gateway.read_event(body(EVENT), signature(body(EVENT), secret))
    assert (event.event_id, event.type, event.object_id) == ("evt_1", "payment_intent.succeeded", "pi_1")
    assert (event.created_ms, event.livemode, event.connected_id) == (1_699_999_990_000, False, "")
    assert event.about == {"purchase_id": "buy-1"}


def test_an_event_of_a_connected_account_names_it(gateway: StripeGateway) -> None:
    assert gateway.read_event(body(CONNECTED), signature(body(CONNECTED), CONNECT)).connected_id == "acct_1"


def test_one_of_several_signatures_is_enough(gateway: StripeGateway) -> None:
    """While a secret is rotated, Stripe signs with the old one and the new one."""
    strange, _, ours = signature(body(EVENT), STRANGE), "", signature(body(EVENT), PLATFORM)
    assert gateway.read_event(body(EVENT), f"{strange},{ours.partition(',')[2]}").event_id == "evt_1"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=1700000000",
        "v1=00",
        "t=soon,v1=00",
        "nonsense",
        "t=1700000000,v1=é",
        signature(body(EVENT), STRANGE),
        signature(body(EVENT), ""),
        signature(body(EVENT), PLATFORM).replace("v1=", "v0="),
        signature(body(EVENT), PLATFORM).replace("t=1700000000", "t=1700000001"),
    ],
)
def test_a_signature_that_is_none_of_ours_is_refused(gateway: StripeGateway, header: str) -> None:
    assert refusal(gateway, body(EVENT), header) is Unauthenticated


def test_a_body_that_was_written_anew_is_refused(gateway: StripeGateway) -> None:
    again = json.dumps(json.loads(body(EVENT))).encode()
    assert refusal(gateway, again, signature(body(EVENT), PLATFORM)) is Unauthenticated


@pytest.mark.parametrize("direction", [-1, 1])
def test_only_what_was_signed_within_five_minutes_is_read(
    gateway: StripeGateway, clock: FakeClock, direction: int
) -> None:
    header = signature(body(EVENT), PLATFORM)
    clock.jump_ms(direction * 300_000)
    assert gateway.read_event(body(EVENT), header).event_id == "evt_1"
    clock.jump_ms(direction)
    assert refusal(gateway, body(EVENT), header) is Unauthenticated


def test_test_money_never_counts_as_live(clock: FakeClock) -> None:
    live = StripeGateway(replace(SETTINGS, stripe_key="sk_live_1"), clock)
    assert refusal(live, body(EVENT), signature(body(EVENT), PLATFORM)) is OtherMode
    event = EVENT | {"livemode": True}
    assert live.read_event(body(event), signature(body(event), PLATFORM)).livemode is True


def test_live_money_never_counts_as_test(gateway: StripeGateway) -> None:
    event = EVENT | {"livemode": True}
    assert refusal(gateway, body(event), signature(body(event), PLATFORM)) is OtherMode


def test_each_endpoint_tells_of_its_own(gateway: StripeGateway) -> None:
    assert refusal(gateway, body(EVENT), signature(body(EVENT), CONNECT)) is Forbidden
    assert refusal(gateway, body(CONNECTED), signature(body(CONNECTED), PLATFORM)) is Forbidden


def test_one_secret_may_serve_both_endpoints(clock: FakeClock) -> None:
    both = StripeGateway(replace(SETTINGS, webhook_secrets=PLATFORM, connect_secrets=PLATFORM), clock)
    assert both.read_event(body(EVENT), signature(body(EVENT), PLATFORM)).connected_id == ""
    assert both.read_event(body(CONNECTED), signature(body(CONNECTED), PLATFORM)).connected_id == "acct_1"


@pytest.mark.parametrize(
    "event",
    [
        [],
        {},
        {"object": "v2.core.event"},
        EVENT | {"data": {}},
        EVENT | {"data": None},
        EVENT | {"created": "yesterday"},
        EVENT | {"livemode": "false"},
    ],
)
def test_what_is_signed_but_no_event_is_refused(gateway: StripeGateway, event: Any) -> None:
    assert refusal(gateway, body(event), signature(body(event), PLATFORM)) in (InvalidField, Forbidden)


def test_bytes_that_are_no_text_are_refused(gateway: StripeGateway) -> None:
    assert refusal(gateway, b"\xff\xfe", signature(body(EVENT), PLATFORM)) is Unauthenticated
