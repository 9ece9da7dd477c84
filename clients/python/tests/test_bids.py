"""Bids and prompts from keyword arguments."""

from decimal import Decimal
from typing import Any

import pytest

from gollem_client import GollemClient, errors, estimate_prompt_tokens
from gollem_client.bids import decimal_text, make_bid
from gollem_client.channels import Address, parse_address
from gollem_client.prompts import chat_messages, sampling


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.002", "0.00200000"),
        (Decimal("1.5"), "1.50000000"),
        (3, "3.00000000"),
        (Decimal("1E-8"), "0.00000001"),
        (Decimal("0.1000000000"), "0.10000000"),
        ("999999999999.99999999", "999999999999.99999999"),
        (None, ""),
    ],
)
def test_amounts_are_exact(amount: Any, text: str) -> None:
    assert decimal_text(amount, "max_price") == text


@pytest.mark.parametrize(
    "amount",
    [
        0.002,
        True,
        "",
        "abc",
        "-1",
        "NaN",
        "Infinity",
        "1e999999999",
        "0.000000001",
        Decimal("1e12"),
        b"1",
        "-0",
        "1e-3",
        "1_0",
        " 1",
        "1.",
        ".5",
        "+1",
        "１",
    ],
)
def test_amounts_that_are_not_are_refused(amount: Any) -> None:
    with pytest.raises(errors.InvalidField) as caught:
        decimal_text(amount, "max_price")
    assert caught.value.field == "max_price"


def test_a_float_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(errors.InvalidField, match=r'pass "0.002" or a Decimal'):
        make_bid("m", 1, max_price=0.002)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy": "fastest"},
        {"weights": {"speed": 1}},
        {"gpu_types": "h100"},
        {"exclude": "p1"},
        {"max_tokens": 0},
        {"max_tokens": 2.0},
        {"max_latency_ms": -1},
        {"max_latency_ms": 2**40},
    ],
)
def test_mistakes_are_told_before_anything_is_sent(wrong: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidField) as caught:
        make_bid("m", 1, **wrong)
    assert caught.value.field.startswith(next(iter(wrong)))


def test_limits_that_are_not_stated_are_absent() -> None:
    bid = make_bid("m", 5)
    assert (bid.max_price, bid.max_cost, bid.max_latency_ms, bid.min_throughput_tps, bid.weights) == (
        "", "", None, None, None,
    )  # fmt: skip


def test_the_estimate_grows_with_bytes_and_messages() -> None:
    one = estimate_prompt_tokens([{"role": "user", "content": "x" * 100}])
    assert one == 100 // 2 + 8 + 32
    assert estimate_prompt_tokens([{"role": "user", "content": "é" * 100}]) == one + 50
    assert estimate_prompt_tokens([{"role": "user", "content": "x" * 50}] * 2) == one + 8


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "robot", "content": "x"}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": "x", "name": "y"}],
        [{"role": "user", "content": "x"}] * 1_025,
    ],
)
def test_messages_that_are_none_are_refused(messages: Any) -> None:
    with pytest.raises(errors.InvalidField, match=r"^messages"):
        chat_messages(messages)


def test_stop_is_a_list() -> None:
    with pytest.raises(errors.InvalidField):
        sampling(stop="abc")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:50051", Address("127.0.0.1", 50051, tls=False)),
        ("[::1]:50051", Address("::1", 50051, tls=False)),
        ("https://example.org", Address("example.org", 443, tls=True)),
        ("https://example.org:8443", Address("example.org", 8443, tls=True)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "host", "host:0x1", "host:99999", "ftp://host:1", "host:1/path", "u@host:1"])
def test_addresses_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(errors.InvalidField):
        parse_address(text)


async def test_the_key_shows_nowhere() -> None:
    async with GollemClient("127.0.0.1:1", api_key="gk-very-secret") as client:
        assert "secret" not in repr(client) + repr(client._exchange)
    with pytest.raises(errors.InvalidField) as caught:
        GollemClient("127.0.0.1:1", api_key="very secret\n")
    assert "secret" not in str(caught.value)
