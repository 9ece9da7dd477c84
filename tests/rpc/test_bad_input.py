"""Bad input on every RPC gets the right status, reason and field, and changes nothing. The table is bad_input.py."""

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from grpclib.client import Channel

from gollem.identity import Role
from gollem.rpc.pb import admin_pb2, common_pb2, credit_pb2, market_pb2, provider_pb2
from tests.rpc import bad_payments
from tests.rpc.bad_input import CALLERS, EMPTY, GOOD, ROWS
from tests.rpc.bad_rows import Row
from tests.rpc.conftest import Site, order
from tests.rpc.wire import METHODS, Answer, call, mistyped, not_utf8, raw_channel, request_type

# What a good request is answered with where that is not OK: nobody listens at the endpoint of the asks.
GOOD_STATUS = {"Generate": "UNAVAILABLE", **bad_payments.GOOD_STATUS}


@pytest.fixture
async def raw(site: Site, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Channel]:
    """A market with every kind of order, which must be as it was when the test is over, without a line in the log."""
    await site.fund()
    await site.sell("p1")
    for order_id in ("mine", "settled", "voided"):
        await site.market.Match(order(order_id), metadata=site.alice)
    await _settle(site, "settled", provider_pb2.SettleRequest.COMPLETED)
    refused = provider_pb2.OrderEvent(order_id="voided", kind=provider_pb2.OrderEvent.REFUSED)
    await site.provider.PostStatus(
        provider_pb2.TelemetryRequest(provider_id="p1", ask_id="a", events=[refused]), metadata=site.p1
    )
    await site.sell("p2")
    await site.fund("bob", "200")
    await site.market.Match(order("bobs", only_providers=["p2"]), metadata=site.bob)
    channel = raw_channel(site.app.port)
    before = await _picture(site)
    caplog.clear()
    yield channel
    channel.close()
    assert await _picture(site) == before
    audit = await site.admin.Audit(admin_pb2.AuditRequest(), metadata=site.ops)
    assert (audit.ok, list(audit.findings)) == (True, [])
    faults = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert not faults


async def _settle(site: Site, order_id: str, outcome: Any) -> None:
    usage = common_pb2.Usage(prompt_tokens=100, completion_tokens=100)
    request = provider_pb2.SettleRequest(provider_id="p1", order_id=order_id, usage=usage, outcome=outcome)
    await site.provider.Settle(request, metadata=site.p1)


async def _picture(site: Site) -> dict[str, object]:
    """Everybody's money, the free capacity and what is sold, as text; the ledger's length; the keys."""
    money = {
        account: str(await site.credit.Balance(credit_pb2.BalanceRequest(account=account), metadata=site.ops))
        for account in ("alice", "bob", "p1", "p2", "ops")
    }
    book = await site.market.GetOrderBook(market_pb2.GetOrderBookRequest(), metadata=site.ops)
    audit = await site.admin.Audit(admin_pb2.AuditRequest(), metadata=site.ops)
    keys = await site.admin.ListKeys(admin_pb2.ListKeysRequest(), metadata=site.ops)
    circuit = await site.provider.GetCircuit(provider_pb2.GetCircuitRequest(provider_id="p1"), metadata=site.ops)
    return {
        "money": money,
        "models": str(book.models),
        "transactions": audit.transactions,
        "keys": sorted(key.account for key in keys.keys if key.account != "mallory"),
        "failures": circuit.failures,
    }


def _caller(site: Site, method: str, which: int = 0) -> dict[str, str]:
    key: dict[str, str] = getattr(site, CALLERS[method][which])
    return key


def _as_expected(row: Row, answer: Answer) -> bool:
    field = (answer.figures or {}).get("field")
    return (answer.status, answer.reason, field) == (row.status, row.reason, row.field)


def test_every_rpc_is_in_the_tables() -> None:
    for table in (ROWS, GOOD, CALLERS, EMPTY):
        assert set(table) == set(METHODS)


def test_every_field_of_every_request_has_a_row() -> None:
    """A new field without a bad value fails here. Any value does for these few."""
    free = {"ListTransactions.earnings", "Generate.sampling.seed", "Generate.messages.content"} | bad_payments.FREE
    for method in METHODS:
        stated = {row.label.partition("=")[0] for row in ROWS[method]}
        for field in METHODS[method].input_type.fields:
            covered = any(path == field.name or path.startswith(f"{field.name}.") for path in stated)
            assert covered or f"{method}.{field.name}" in free, f"{method}.{field.name}"


@pytest.mark.parametrize("method", sorted(METHODS))
async def test_every_bad_value_is_refused_for_what_it_is(site: Site, raw: Channel, method: str) -> None:
    wrong = []
    for row in ROWS[method]:
        answer = await call(raw, method, row.message, _caller(site, method))
        if not _as_expected(row, answer):
            wrong.append((row.label, answer))
    assert not wrong, "\n" + "\n".join(map(str, wrong))


@pytest.mark.parametrize("method", sorted(METHODS))
async def test_broken_messages_are_refused_on_every_rpc(site: Site, raw: Channel, method: str) -> None:
    metadata = _caller(site, method)
    broken = {"cut off": b"\x0a\x7f", "no tag": b"\xff" * 11, "not UTF-8": not_utf8(method)}
    for what, request in broken.items():
        if request is not None:
            answer = await call(raw, method, request, metadata)
            assert (answer.status, answer.reason) == ("INVALID_ARGUMENT", "INVALID_MESSAGE"), what
    if not METHODS[method].client_streaming:
        answer = await call(raw, method, None, metadata)
        assert (answer.status, answer.reason) == ("INVALID_ARGUMENT", "INVALID_MESSAGE")
    # Protobuf ignores what it does not know, a known field in a wrong wire type too: nothing of it is taken.
    for request in (b"", mistyped(method)):
        answer = await call(raw, method, request, metadata)
        if not EMPTY[method]:
            assert answer.status == "OK"
        else:
            assert _as_expected(Row("", request_type(method)(), field=EMPTY[method]), answer), answer


@pytest.mark.parametrize("method", sorted(METHODS))
async def test_without_a_good_key_of_the_right_role_nothing_is_done(site: Site, raw: Channel, method: str) -> None:
    good = _caller(site, method)["authorization"]
    other = (await site.key("mallory", Role.CONSUMER))["authorization"]
    wrong = [
        "", "Bearer", "Bearer ", "Bearer x", "Bearer glm_", "bearer", good.removeprefix("Bearer "),
        good.replace("Bearer", "Basic"), good.replace("Bearer ", "Bearer"), good[:-1], good + "A", good + " x",
        good[:-1] + ("A" if good[-1] != "A" else "B"), good.replace("glm_", "GLM_"), f"{good}, {good}",
        f"{good.rpartition('_')[0]}_{other.rpartition('_')[2]}", "Bearer " + "x" * 7_000, "Bearer \x21" * 50,
    ]  # fmt: skip
    for key in wrong:
        answer = await call(raw, method, GOOD[method], {"authorization": key} if key else {})
        assert (answer.status, answer.reason) == ("UNAUTHENTICATED", "UNAUTHENTICATED"), key
    revoked = await _revoked(site)
    assert (await call(raw, method, GOOD[method], revoked)).status == "UNAUTHENTICATED"
    for role in {"alice", "p1", "ops"} - set(CALLERS[method]):
        answer = await call(raw, method, GOOD[method], getattr(site, role))
        assert (answer.status, answer.reason) == ("PERMISSION_DENIED", "FORBIDDEN"), role
        # Nor does a stranger learn what is wrong with the message.
        if ROWS[method]:
            answer = await call(raw, method, ROWS[method][-1].message, getattr(site, role))
            assert (answer.status, answer.reason) == ("PERMISSION_DENIED", "FORBIDDEN"), role


async def _revoked(site: Site) -> Mapping[str, str]:
    """A key that was good once. Never used before, so that no cache knows it."""
    made = await site.keys.create("mallory", Role.CONSUMER)
    await site.keys.revoke(made.key_id)
    return {"authorization": f"Bearer {made.secret}"}


@pytest.mark.parametrize("method", sorted(METHODS))
async def test_the_good_request_is_taken(site: Site, method: str) -> None:
    """Else the rows would prove nothing: each differs from this in one thing."""
    await site.fund()
    await site.sell("p1")
    for order_id in ("mine", "voided"):
        await site.market.Match(order(order_id), metadata=site.alice)
    channel = raw_channel(site.app.port)
    for which in range(len(CALLERS[method])):
        answer = await call(channel, method, GOOD[method], _caller(site, method, which))
        assert answer.status == GOOD_STATUS.get(method, "OK")
    channel.close()
