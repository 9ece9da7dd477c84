"""Nodes whose grants would not be good at each other's agents, or with other books, do not run side by side."""

import asyncio

import pytest

from gollem.clock import SystemClock
from gollem.config import ConfigError, NodesConfig
from gollem.ledger import name_of
from gollem.nodes import SharedBook, open_shared_book
from tests.nodes.samples import Recorder
from tests.until import WITHIN_S


def node(url: str, name: str, *keys: str, heartbeat_ms: int = 1_000, ledger: str = "") -> SharedBook:
    config = NodesConfig(book=url, name=name, partitions=2, heartbeat_ms=heartbeat_ms, claim_timeout_ms=5_000)
    return open_shared_book(config, "test", SystemClock(), keys, ledger=ledger)


async def test_a_node_with_another_ledger_may_not_join(redis_url: str) -> None:
    one, other = node(redis_url, "one", ledger="dynamodb://a"), node(redis_url, "other", ledger="dynamodb://b")
    third, unnamed = node(redis_url, "third", ledger="dynamodb://a"), node(redis_url, "unnamed")
    await one.start(Recorder())
    with pytest.raises(ConfigError, match=r"storage\.ledger: .* dynamodb://b, node one has dynamodb://a"):
        await other.start(Recorder())
    for each in (third, unnamed):
        await each.start(Recorder())
    for each in (one, third, unnamed):
        await each.close()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("dynamodb://t?region=eu-west-1", "dynamodb://t?endpoint=http://10.0.0.1:8000", True),
        ("dynamodb://t", "dynamodb://u", False),
        ("sqlite:///a/ledger.db", "sqlite:///a/ledger.db", True),
        ("sqlite:///a/ledger.db", "dynamodb://t", False),
    ],
)
def test_a_ledger_is_named_by_what_leads_to_the_same_books(one: str, other: str, same: bool) -> None:
    assert (name_of(one) == name_of(other)) == same


async def test_a_node_with_another_key_may_not_join(redis_url: str) -> None:
    one, other = node(redis_url, "one", "old"), node(redis_url, "other", "new", "old")
    await one.start(Recorder())
    with pytest.raises(ConfigError, match=r"storage\.grant_keys: .* with new, node one with old"):
        await other.start(Recorder())
    assert [each.name for each in await one.nodes()] == ["one"], "it has left"
    await one.close()


async def test_a_node_that_knows_the_next_key_may(redis_url: str) -> None:
    one, other = node(redis_url, "one", "old"), node(redis_url, "other", "old", "new")
    await one.start(Recorder())
    await other.start(Recorder())
    assert [each.grant_keys for each in await one.nodes()] == [("old",), ("old", "new")]
    await one.close()
    ahead = node(redis_url, "ahead", "new", "old")
    await ahead.start(Recorder())
    for each in (other, ahead):
        await each.close()


async def test_a_node_that_was_killed_keeps_nobody_out_for_long(redis_url: str) -> None:
    killed = node(redis_url, "killed", "old", heartbeat_ms=10)
    await killed.start(Recorder())
    killed._heart.cancel()  # type: ignore[attr-defined]
    refused = 0
    async with asyncio.timeout(WITHIN_S):
        while not await joined(after := node(redis_url, "after", "new", heartbeat_ms=10)):
            refused += 1
    assert refused, "while it may still be there"
    for each in (killed, after):
        await each.close()


async def joined(each: SharedBook) -> bool:
    try:
        await each.start(Recorder())
    except ConfigError:
        return False
    return True
