"""Redis away, slow, half there, or answering into the void: a node says what it knows, and nothing is done twice."""

import json
from collections.abc import AsyncIterator

import pytest

from gollem.clock import SystemClock
from gollem.config import ConfigError
from gollem.errors import BookUnavailable
from gollem.nodes import Granted, Lease, Refused, Sent, SharedBook
from gollem.nodes.keys import PARTITIONS, PartitionKeys, partition_of
from tests.fakes.tcp_link import TcpLink
from tests.nodes.conftest import OpenNode
from tests.nodes.samples import MODEL, a_claim, heard, placed
from tests.servers.redis_server import RedisServer, free_port, redis_server
from tests.until import until, until_answer

KEYS = PartitionKeys(partition_of(MODEL, 2))


@pytest.fixture
async def link(redis: RedisServer) -> AsyncIterator[TcpLink]:
    async with TcpLink("127.0.0.1", redis.port) as opened:
        yield opened


@pytest.fixture
def link_url(link: TcpLink) -> str:
    return f"redis://127.0.0.1:{link.port}"


async def test_a_lost_answer_is_had_again(link: TcpLink, link_url: str, redis_url: str, open_node: OpenNode) -> None:
    (node, _), (other, _) = await open_node(link_url, "node"), await open_node(redis_url, "other")
    link.lose_answer(b"_claim")
    answer = await node.claim(a_claim("a", slots=1))
    assert link.is_done
    assert answer == await other.claim(a_claim("a", slots=1))
    assert isinstance(await other.claim(a_claim("b", slots=1)), Refused)


async def test_a_batch_whose_answer_was_lost_comes_once(
    link: TcpLink, link_url: str, redis_url: str, open_node: OpenNode
) -> None:
    (node, _), (_, there) = await open_node(link_url, "node"), await open_node(redis_url, "other")
    link.lose_answer(b"_publish", times=2)
    first, second = (Sent("provider-1/ask", MODEL, order_id, 5) for order_id in ("a", "b"))
    node.announce(first)
    await until(lambda: link.is_done)
    node.announce(second)
    await until(lambda: second in there.changes)
    assert there.changes == [first, second]


async def test_missing_functions_are_loaded_again(redis: RedisServer, redis_url: str, open_node: OpenNode) -> None:
    node, _ = await open_node(redis_url)
    redis.ask("function", "flush")
    assert isinstance(await node.claim(a_claim("a")), Granted)
    assert node.status().granted_alone == 0


async def test_a_slow_link_is_no_outage(link: TcpLink, link_url: str, open_node: OpenNode) -> None:
    node, _ = await open_node(link_url, claim_timeout_ms=2_000)
    link.delay_s = 0.05
    assert isinstance(await node.claim(a_claim("a")), Granted)
    assert not node.status().degraded


async def test_a_cut_link_is_made_anew(link: TcpLink, link_url: str, open_node: OpenNode) -> None:
    node, listener = await open_node(link_url)
    link.cut()
    assert isinstance(await node.claim(a_claim("a")), Granted)
    await until(lambda: not node.status().degraded)
    assert listener.restored == [], "it is the same server, and has lost nothing"


@pytest.mark.parametrize("how", ["half-open", "refused"])
async def test_redis_away_is_decided_alone_then_not_at_all(
    link: TcpLink, link_url: str, open_node: OpenNode, how: str
) -> None:
    node, _ = await open_node(link_url, degraded_ms=400, claim_timeout_ms=100)
    shared = await node.claim(a_claim("a"))
    assert isinstance(shared, Granted)
    _break(link, how)

    alone = await node.claim(a_claim("b", slots=1))
    assert isinstance(alone, Granted)
    assert alone.degraded
    assert alone.fence > shared.fence
    assert node.status().degraded
    [own] = await node.nodes()
    assert own.degraded
    assert own.name == "node"

    async def refused() -> bool:
        return await node.claim(a_claim("c")) == Refused(0, 0, degraded=True)

    await until_answer(refused)
    _mend(link)

    async def shared_again() -> bool:
        answer = await node.claim(a_claim("d", "provider-9/ask"))
        return isinstance(answer, Granted) and not answer.degraded

    await until_answer(shared_again)
    assert await node.renew(Lease("b", "provider-1/ask", MODEL, 10, alone.fence), 60_000)
    await until(lambda: not node.status().degraded)


async def test_what_is_announced_meanwhile_waits_bounded(
    link: TcpLink, link_url: str, redis_url: str, open_node: OpenNode
) -> None:
    (node, _), (_, there) = await open_node(link_url, "node", max_events=10), await open_node(redis_url, "other")
    _break(link, "refused")
    node.announce(placed(1))
    await until(lambda: node.status().degraded)
    for number in range(100):
        node.announce(placed(2, price_ticks=number + 1))
        node.announce(heard(2, sequence=number))
        node.announce(Sent("provider-1/ask", MODEL, f"order-{number}", 5))
    assert node.status().waiting == 13
    assert node.status().dropped == 90
    _mend(link)
    await until(lambda: there.prices() == {"provider-1/ask": 100, "provider-2/ask": 100})
    await until(
        lambda: [c.order_id for c in there.changes if isinstance(c, Sent)] == [f"order-{n}" for n in range(90, 100)]
    )


async def test_what_was_announced_meanwhile_comes_as_old_as_it_is(
    link: TcpLink, link_url: str, redis_url: str, open_node: OpenNode
) -> None:
    """Its agent may have gone to another node since, and have other terms there."""
    (node, _), (_, there) = await open_node(link_url, "node"), await open_node(redis_url, "other")
    _break(link, "refused")
    clock = SystemClock()
    announced_ms = clock.monotonic_ms()
    node.announce(placed(1))
    await until(lambda: clock.monotonic_ms() - announced_ms > 300)
    waited_ms = clock.monotonic_ms() - announced_ms
    _mend(link)
    await until(lambda: there.changes)
    age_ms = there.changes[0].age_ms  # type: ignore[union-attr]
    assert age_ms >= waited_ms // 2, "all but what its last sending took"


async def _until_free(node: SharedBook) -> None:
    """Until another order has the one slot."""

    async def is_free() -> bool:
        return isinstance(await node.claim(a_claim("b", slots=1)), Granted)

    await until_answer(is_free)


async def test_what_was_released_meanwhile_is_free_afterwards(
    link: TcpLink, link_url: str, redis_url: str, open_node: OpenNode
) -> None:
    (node, _), (other, _) = await open_node(link_url, "node"), await open_node(redis_url, "other")
    answer = await node.claim(a_claim("a", slots=1))
    assert isinstance(answer, Granted)
    _break(link, "refused")
    assert await node.release(Lease("a", "provider-1/ask", MODEL, 10, answer.fence))
    assert isinstance(await other.claim(a_claim("b", slots=1)), Refused)
    _mend(link)
    await _until_free(other)


async def test_what_was_released_is_free_though_its_order_was_claimed_alone_meanwhile(
    link: TcpLink, link_url: str, redis_url: str, open_node: OpenNode
) -> None:
    """An order that has ended comes again while Redis is away: what that attempt gives back is not what Redis holds."""
    (node, _), (other, _) = await open_node(link_url, "node"), await open_node(redis_url, "other")
    answer = await node.claim(a_claim("a", slots=1))
    assert isinstance(answer, Granted)
    _break(link, "refused")
    assert await node.release(Lease("a", "provider-1/ask", MODEL, 10, answer.fence))
    again = await node.claim(a_claim("a", slots=1))
    assert isinstance(again, Granted)
    assert again.degraded
    assert await node.release(Lease("a", "provider-1/ask", MODEL, 10, again.fence))
    _mend(link)
    await _until_free(other)


async def test_a_server_that_takes_no_writes_is_told_of(
    redis: RedisServer, redis_url: str, open_node: OpenNode
) -> None:
    """Its disk is full, or its replicas are gone. It can be read; what the node told there last is no news."""
    node, _ = await open_node(redis_url)
    redis.ask("config", "set", "min-replicas-to-write", "1")
    try:
        await until(lambda: node.status().degraded)
        assert [(each.name, each.degraded) for each in await node.nodes()] == [("node", True)]
    finally:
        redis.ask("config", "set", "min-replicas-to-write", "0")
    await until(lambda: not node.status().degraded)
    assert [(each.name, each.degraded) for each in await node.nodes()] == [("node", False)]


async def test_redis_comes_back_empty(open_node: OpenNode) -> None:
    with redis_server() as server:
        url = f"redis://127.0.0.1:{server.port}"
        (node, listener), (_, there) = await open_node(url, "node"), await open_node(url, "other")
        node.announce(placed(1))
        await until(lambda: there.changes)
        server.kill()
        await until(lambda: node.status().degraded)
        server.start()
        await until(lambda: not node.status().degraded)
        await until(lambda: server.ask("hkeys", KEYS.asks) == "provider-1/ask")
        assert KEYS.number in listener.restored
        node.announce(placed(2))
        await until(lambda: "provider-2/ask" in there.prices())
        assert isinstance(await node.claim(a_claim("a")), Granted)


async def test_a_failover_that_loses_acknowledged_writes(open_node: OpenNode) -> None:
    """The link leads to a replica that was cut off before the last writes, and is the master now."""
    with redis_server() as master, redis_server("--replicaof", f"127.0.0.1 {master.port}") as replica:
        async with TcpLink("127.0.0.1", master.port) as link:
            url = f"redis://127.0.0.1:{link.port}"
            (node, mine), (_, there) = await open_node(url, "node"), await open_node(url, "other")
            node.announce(placed(1))
            await until(lambda: replica.ask("hkeys", KEYS.asks) == "provider-1/ask")
            replica.ask("replicaof", "no", "one")
            node.announce(placed(2))
            lost = await node.claim(a_claim("a", slots=1))
            await until(lambda: "provider-2/ask" in there.prices())
            link.target = ("127.0.0.1", replica.port)
            link.cut()

            await until(lambda: replica.ask("hlen", KEYS.asks) == "2")
            await until(lambda: KEYS.number in mine.restored and KEYS.number in there.restored)
            assert isinstance(lost, Granted)
            assert await node.renew(Lease("a", "provider-1/ask", MODEL, 10, lost.fence), 60_000), "from the ledger"
            assert isinstance(await node.claim(a_claim("b", slots=1)), Refused)
            node.announce(placed(3))
            await until(lambda: "provider-3/ask" in there.prices())
            assert mine.retained == there.retained == []


async def test_a_failover_that_loses_nothing_but_a_claim(open_node: OpenNode) -> None:
    """No number in any stream tells of it: only that another server answers."""
    with redis_server() as master, redis_server("--replicaof", f"127.0.0.1 {master.port}") as replica:
        async with TcpLink("127.0.0.1", master.port) as link:
            node, listener = await open_node(f"redis://127.0.0.1:{link.port}")
            await until(lambda: replica.ask("hget", KEYS.head, "last") == "0")
            replica.ask("replicaof", "no", "one")
            assert isinstance(await node.claim(a_claim("a", slots=1)), Granted)
            link.target = ("127.0.0.1", replica.port)
            link.cut()
            await until(lambda: sorted(listener.restored) == [0, 1])


async def test_after_a_failover_nothing_goes_to_the_server_before(open_node: OpenNode) -> None:
    """It is still there, does not know that it is replaced, and a connection to it goes on."""
    with redis_server() as master, redis_server("--replicaof", f"127.0.0.1 {master.port}") as replica:
        async with TcpLink("127.0.0.1", master.port) as link:
            node, listener = await open_node(f"redis://127.0.0.1:{link.port}")
            await until(lambda: replica.ask("hget", KEYS.head, "last") == "0")
            replica.ask("replicaof", "no", "one")
            link.target = ("127.0.0.1", replica.port)
            link.cut(spared=1)
            await until(lambda: "connected_clients:1\n" in master.ask("info", "clients").replace("\r", ""))
            await until(lambda: set(listener.restored) == {0, 1})
            assert isinstance(await node.claim(a_claim("a")), Granted)
            assert replica.ask("zcard", KEYS.leases("provider-1/ask")[1]) == "1"


async def test_another_release_writes_what_this_one_does_not_know(
    redis: RedisServer, redis_url: str, open_node: OpenNode
) -> None:
    """Beside nodes of a later version, during a rolling deploy."""
    node, listener = await open_node(redis_url)
    speaker, _ = await open_node(redis_url, "speaker")
    speaker.announce(placed(1))
    await until(lambda: listener.changes)
    epoch, last = redis.ask("hmget", KEYS.head, "epoch", "last").split()
    later = [
        json.dumps([2, "later", [{"kind": "placed"}]]),
        json.dumps([1, "later", [["blessed", "provider-1/ask"], ["removed", "provider-1/ask", MODEL, "why"]], "more"]),
        "not even JSON",
    ]
    redis.ask("hset", KEYS.head, "last", str(int(last) + len(later)))  # first: who is ahead of it has another stream
    for number, text in enumerate(later, start=int(last) + 1):
        redis.ask("xadd", KEYS.changes, f"{epoch}-{number}", "at", "1", "batch", text)
    now_ms = redis.ask("time").split()[0] + "000"  # what is older than `forget_ms` would be swept
    redis.ask("hset", KEYS.asks, "provider-5/ask", f"{now_ms} {later[0]}")

    await until(lambda: len(listener.changes) == 2 and node.status().passed_over == 3)
    speaker.announce(placed(3))
    await until(lambda: len(listener.changes) == 3)
    newcomer, there = await open_node(redis_url, "newcomer")
    assert set(there.prices()) == {"provider-1/ask", "provider-3/ask"}
    assert newcomer.status().passed_over == 1


async def test_a_listener_that_stumbles_hears_what_follows(redis_url: str, open_node: OpenNode) -> None:
    (one, _), (_, other) = await open_node(redis_url, "one"), await open_node(redis_url, "other")
    apply, stumbled = other.apply, []

    def stumble(changes: list[object]) -> None:
        stumbled.append(changes)
        other.apply = apply  # type: ignore[method-assign]
        raise RuntimeError("a bug")

    other.apply = stumble  # type: ignore[method-assign, assignment]
    one.announce(placed(1))
    await until(lambda: stumbled)
    one.announce(placed(2))
    await until(lambda: "provider-2/ask" in other.prices())


async def test_a_start_without_redis_says_so(open_node: OpenNode) -> None:
    with pytest.raises(BookUnavailable):
        await open_node(f"redis://127.0.0.1:{free_port()}", join_ms=300)


async def test_nodes_must_spread_models_alike(redis_url: str, open_node: OpenNode) -> None:
    await open_node(redis_url, "one", partitions=2)
    with pytest.raises(ConfigError, match=r"nodes\.partitions: the other nodes have 2, not 3"):
        await open_node(redis_url, "other", partitions=3)


async def test_nodes_must_spread_models_alike_after_redis_was_emptied(
    redis: RedisServer, redis_url: str, open_node: OpenNode, caplog: pytest.LogCaptureFixture
) -> None:
    await open_node(redis_url, "one", partitions=2)
    redis.ask("flushall")
    await until(lambda: redis.ask("exists", PARTITIONS) == "1")
    with pytest.raises(ConfigError, match=r"nodes\.partitions: the other nodes have 2, not 3"):
        await open_node(redis_url, "other", partitions=3)
    redis.ask("set", PARTITIONS, "3")  # somebody was quicker
    await until(lambda: "the other nodes have 3, not 2" in caplog.text)


async def test_a_start_at_what_is_no_cluster_says_so(
    redis: RedisServer, open_node: OpenNode, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BookUnavailable, match="Cluster mode is not enabled"):
        await open_node(f"redis+cluster://127.0.0.1:{redis.port}", join_ms=300)
    assert "Traceback" not in caplog.text


def _break(link: TcpLink, how: str) -> None:
    if how == "half-open":
        link.stall()
    else:
        link.is_refusing = True
        link.cut()


def _mend(link: TcpLink) -> None:
    link.is_refusing = False
    link.flow()
