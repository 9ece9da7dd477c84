"""During a rolling deploy a node of a later release and one of this run over one Redis, and neither harms the other."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gollem.nodes import CancelAsked, Contested, Granted, Lease, Refused, Sampled, Sent, Spent
from tests.nodes import later_release
from tests.nodes.conftest import OpenNode
from tests.nodes.samples import MODEL, a_claim, heard, placed
from tests.servers.redis_server import RedisServer
from tests.until import WITHIN_S, until, until_answer


class Later:
    """A process of the later release, asked by lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, *words: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{' '.join(map(str, words))}\n".encode())
        async with asyncio.timeout(WITHIN_S):
            return json.loads(await self._process.stdout.readline())


@pytest.fixture
async def later(redis_url: str, tmp_path: Path) -> AsyncIterator[Later]:
    path = [str(later_release.copy(tmp_path / "later")), str(later_release.ROOT), *sys.path]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        later_release.__file__,
        redis_url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": ":".join(path)},
    )
    yield Later(process)
    assert process.stdin is not None
    process.stdin.close()
    assert await process.wait() == 0


async def test_what_either_announces_the_other_takes_in(redis_url: str, open_node: OpenNode, later: Later) -> None:
    node, here = await open_node(redis_url, "today")
    await later.ask("announce", 700)
    await until(lambda: placed(7, price_ticks=700).ask in [getattr(change, "ask", None) for change in here.changes])
    await until(lambda: heard(7).promise in [getattr(change, "promise", None) for change in here.changes])
    assert node.status().passed_over > 0, "of what it adds, this release knows nothing"
    key = placed(1).ask_key
    node.announce(placed(1, price_ticks=100))
    for change in (
        Sent(key, MODEL, "o1", 5),
        Sampled(key, MODEL, 1, 2),
        CancelAsked(key, MODEL, "o1"),
        Contested(key, MODEL, "alice"),
        Spent("alice", 1, 1),
    ):
        node.announce(change)

    async def all_seen() -> bool:
        seen = await later.ask("seen")
        kinds = {"Placed", "Sent", "Sampled", "CancelAsked", "Contested", "Spent"}
        return bool(seen["prices"].get(key) == 100 and kinds <= set(seen["kinds"]))

    await until_answer(all_seen)
    assert not node.status().degraded


async def test_a_node_that_starts_reads_the_later_ones_snapshot(
    redis_url: str, open_node: OpenNode, later: Later
) -> None:
    await later.ask("announce", 700)

    async def is_there() -> bool:
        _, there = await open_node(redis_url, "second")
        return there.prices() == {"provider-7/ask": 700}

    await until_answer(is_there)


async def test_they_share_leases_and_the_roll(
    redis: RedisServer, redis_url: str, open_node: OpenNode, later: Later
) -> None:
    node, _ = await open_node(redis_url, "today")
    fence = await later.ask("claim", "a")
    assert fence > 0
    assert isinstance(await node.claim(a_claim("b", slots=1)), Refused)
    assert await node.claim(a_claim("a", slots=1)) == Granted(fence)
    assert not await later.ask("release", "a", fence - 1)
    assert await node.release(Lease("a", "provider-1/ask", MODEL, 10, fence))
    assert await later.ask("claim", "b") > fence
    assert await later.ask("nodes") == {"later": "later", "today": "test"}
    assert {each.name: each.version for each in await node.nodes()} == {"later": "later", "today": "test"}
    assert redis.ask("function", "list").count("library_name") == 2, "each has functions of its own"


async def test_what_takes_another_number_is_passed_over(
    redis: RedisServer, redis_url: str, open_node: OpenNode
) -> None:
    """A text of a form that this release does not know, written by hand into the stream and the snapshot."""
    node, here = await open_node(redis_url, "today")
    (one, other), (there, _) = ("gollem:1:{p0}", "gollem:1:{p1}"), await open_node(redis_url, "other")
    for prefix in (one, other):
        epoch = redis.ask("hget", f"{prefix}:head", "epoch")
        last = int(redis.ask("hincrby", f"{prefix}:head", "last", "1"))
        now_ms = redis.ask("time").split()[0] + "000"
        entry = ["at", now_ms, "batch", '[2,"later~1",{"of":"another form"}]', "checksum", "7"]
        redis.ask("xadd", f"{prefix}:changes", f"{epoch}-{last}", *entry)
        redis.ask("hset", f"{prefix}:asks", "p9/ask", f'{now_ms} [2,"later~1",{{}}]')
    await until(lambda: node.status().passed_over == 2)
    there.announce(placed(1))
    await until(lambda: here.prices())
    assert node.status().rebuilt == 2, "nothing had to be read anew"
    redis.ask("hset", "gollem:1:{nodes}", "afterwards", now_ms + ' {"form":2,"asks":{"of":"another form"}}')
    assert {each.name for each in await node.nodes()} == {"today", "other"}
    third, beside = await open_node(redis_url, "third")
    assert beside.prices() == {placed(1).ask_key: 100}
    assert third.status().passed_over == 2
