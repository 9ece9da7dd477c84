"""What one node announces, the others hear: together, once, the newest of each ask, and also if they come late."""

from gollem.nodes import Ended, Ending, Heard, Removed, Sampled, Sent
from gollem.nodes.keys import PartitionKeys, partition_of
from tests.fakes.tcp_link import TcpLink
from tests.nodes.conftest import OpenNode
from tests.nodes.samples import MODEL, heard, placed
from tests.servers.redis_server import RedisServer
from tests.until import until, until_answer

KEYS = PartitionKeys(partition_of(MODEL, 2))
_WITHIN_S = 30


async def test_what_is_announced_together_comes_as_one_batch(redis_url: str, open_node: OpenNode) -> None:
    (one, _), (_, other) = await open_node(redis_url, "one"), await open_node(redis_url, "other")
    said = [
        placed(1),
        placed(2),
        heard(1),
        Sent("provider-1/ask", MODEL, "order", 100),
        Sampled("provider-1/ask", MODEL, 90_000, None),
        Ended("provider-1/ask", MODEL, "order", Ending.SUCCEEDED),
    ]
    for change in said:
        one.announce(change)
    await until(lambda: other.batches)
    (batch,) = other.batches
    assert [type(change) for change in batch] == [type(change) for change in said]
    assert batch[3:] == said[3:]


async def test_a_cluster_carries_changes_too(cluster_url: str, open_node: OpenNode) -> None:
    (one, _), (_, other) = await open_node(cluster_url, "one"), await open_node(cluster_url, "other")
    for number, model in enumerate(("a-model", "b-model", "c-model", "d-model")):
        one.announce(placed(number, model))
    await until(lambda: len(other.changes) == 4)
    _, late = await open_node(cluster_url, "late")
    assert late.prices() == other.prices()


async def test_a_node_does_not_hear_itself(redis_url: str, open_node: OpenNode) -> None:
    (one, mine), (_, other) = await open_node(redis_url, "one"), await open_node(redis_url, "other")
    one.announce(placed(1))
    await until(lambda: other.changes)
    await until(lambda: one.status().waiting == 0)
    assert mine.changes == []


async def test_only_the_newest_report_is_sent(redis_url: str, open_node: OpenNode) -> None:
    (one, _), (_, other) = await open_node(redis_url, "one"), await open_node(redis_url, "other")
    for sequence in range(100):
        one.announce(heard(1, sequence))
    await until(lambda: other.changes)
    (change,) = other.changes
    assert isinstance(change, Heard)
    assert change.sequence == 99


async def test_a_late_node_catches_up(redis_url: str, open_node: OpenNode) -> None:
    one, _ = await open_node(redis_url, "one")
    for number in range(1_500):
        one.announce(placed(number))
    one.announce(heard(7, sequence=5))
    one.announce(placed(8, price_ticks=123))
    one.announce(Removed(placed(9).ask_key, MODEL))
    await until(lambda: one.status().waiting == 0)

    _, late = await open_node(redis_url, "late")

    prices = late.prices()
    assert len(prices) == 1_499
    assert prices["provider-8/ask"] == 123
    assert "provider-9/ask" not in prices
    (report,) = [change for change in late.changes if isinstance(change, Heard)]
    assert report.sequence == 5
    assert late.changes.index(report) >= 1_499, "an ask comes before what was heard of it"


async def test_an_ask_belongs_to_the_node_that_announced_it_last(redis_url: str, open_node: OpenNode) -> None:
    (one, _), (other, heard_there) = await open_node(redis_url, "one"), await open_node(redis_url, "other")
    one.announce(placed(1))
    await until(lambda: heard_there.changes)
    other.announce(placed(1))
    await until(lambda: one.status().asks == 0)
    assert other.status().asks == 1


async def test_a_node_started_again_knows_its_asks_as_anothers(redis_url: str, open_node: OpenNode) -> None:
    one, _ = await open_node(redis_url, "one")
    one.announce(placed(1))
    await one.close()
    again, listener = await open_node(redis_url, "one")
    assert listener.prices() == {"provider-1/ask": 100}
    assert again.status().asks == 0


async def test_a_stream_cut_short_is_made_up_for(redis: RedisServer, redis_url: str, open_node: OpenNode) -> None:
    """A batch that this node had not read is gone from the stream: numbers do not follow any more."""
    async with TcpLink("127.0.0.1", redis.port) as link:
        url = f"redis://127.0.0.1:{link.port}"
        (one, _), (other, there) = await open_node(redis_url, "one"), await open_node(url, "other")
        one.announce(placed(1))
        await until(lambda: there.changes)
        link.stall()  # what it has asked for before may still come: the first batch
        for change in (placed(2), Removed("provider-1/ask", MODEL), placed(3)):
            before = int(redis.ask("hget", KEYS.head, "last"))
            one.announce(change)
            await until(lambda before=before: int(redis.ask("hget", KEYS.head, "last")) > before)
        redis.ask("xtrim", KEYS.changes, "maxlen", "=", "1")
        link.flow()
        await until(lambda: there.retained, _WITHIN_S)

    assert there.retained == [(KEYS.number, {"provider-2/ask", "provider-3/ask"})]
    assert there.prices() == {"provider-1/ask": 100, "provider-2/ask": 100, "provider-3/ask": 100}
    assert other.status().rebuilt == 3


async def test_after_flushall_all_announce_again(redis: RedisServer, redis_url: str, open_node: OpenNode) -> None:
    (one, mine), (other, there) = await open_node(redis_url, "one"), await open_node(redis_url, "other")
    one.announce(placed(1))
    one.announce(heard(1, sequence=4))
    other.announce(placed(2))
    await until(lambda: there.changes and mine.changes)
    epoch = one.status().epoch
    redis.ask("flushall")

    await until(lambda: one.status().epoch > epoch and other.status().epoch > epoch)
    await until(lambda: redis.ask("hlen", KEYS.asks) == "2" and redis.ask("hlen", KEYS.heard) == "1")

    assert KEYS.number in mine.restored
    assert KEYS.number in there.restored
    assert mine.retained == there.retained == [], "nothing has gone for certain"
    _, late = await open_node(redis_url, "late")
    assert set(late.prices()) == {"provider-1/ask", "provider-2/ask"}


async def test_flushall_while_much_is_announced(redis: RedisServer, redis_url: str, open_node: OpenNode) -> None:
    (one, _), (_, there) = await open_node(redis_url, "one"), await open_node(redis_url, "other")
    for number in range(300):
        one.announce(placed(number))
        if number % 100 == 50:
            await until(lambda: one.status().waiting == 0)
            redis.ask("flushall")
    await until(lambda: redis.ask("hlen", KEYS.asks) == "300")
    await until(lambda: len(there.prices()) == 300)


async def test_what_nobody_repeats_leaves_redis(redis: RedisServer, redis_url: str, open_node: OpenNode) -> None:
    gone, _ = await open_node(redis_url, "gone")
    gone.announce(placed(1))
    gone.announce(heard(1))
    await gone.close()
    stays, _ = await open_node(redis_url, "stays", forget_ms=1_000)
    stays.announce(placed(2))
    assert redis.ask("hlen", KEYS.asks) in "12"

    def is_swept() -> bool:
        stays.announce(heard(2))
        return redis.ask("hkeys", KEYS.asks) == "provider-2/ask"

    await until(is_swept)


async def test_nodes_are_on_the_roll_while_they_run(redis_url: str, open_node: OpenNode) -> None:
    (one, _), (other, _) = await open_node(redis_url, "one"), await open_node(redis_url, "other")
    one.announce(placed(1))

    async def is_told() -> bool:
        return [(node.name, node.asks) for node in await other.nodes()] == [("one", 1), ("other", 0)]

    await until_answer(is_told)
    await one.close()
    assert [node.name for node in await other.nodes()] == ["other"]
