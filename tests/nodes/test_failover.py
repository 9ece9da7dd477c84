"""Sentinel and Cluster put a replica in the place of a master that was killed: nodes find it, and lose nothing."""

from gollem.nodes import Granted, SharedBook
from gollem.nodes.keys import PartitionKeys, partition_of
from tests.nodes.conftest import OpenNode
from tests.nodes.samples import MODEL, Recorder, a_claim, placed
from tests.servers.redis_server import MASTER, RedisServer, sentinels
from tests.servers.redis_server import cluster as a_cluster
from tests.until import until, until_answer

KEYS = PartitionKeys(partition_of(MODEL, 2))


async def test_sentinels_replace_the_master(open_node: OpenNode) -> None:
    with sentinels() as ((master, _), ports):
        places = ",".join(f"127.0.0.1:{port}" for port in ports)
        await _survives(master, f"redis+sentinel://{places}/{MASTER}", open_node)


async def test_a_cluster_replaces_a_master(open_node: OpenNode) -> None:
    with a_cluster() as servers:
        places = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        await _survives(_owner(servers), f"redis+cluster://{places}", open_node)


async def _survives(master: RedisServer, url: str, open_node: OpenNode) -> None:
    (one, mine), (other, there) = await open_node(url, "one"), await open_node(url, "other")
    one.announce(placed(1))
    other.announce(placed(2))
    await until(lambda: there.changes and mine.changes)
    assert isinstance(await one.claim(a_claim("a", slots=1)), Granted)
    master.kill()
    await until(lambda: one.status().degraded and other.status().degraded)
    assert isinstance(await one.claim(a_claim("b", "provider-2/ask")), Granted), "by its own view"

    await until_answer(lambda: _is_shared(one))
    await until(lambda: not one.status().degraded and not other.status().degraded)

    await until(lambda: KEYS.number in mine.restored and KEYS.number in there.restored)
    one.announce(placed(3))
    await until(lambda: "provider-3/ask" in there.prices())
    late = (await open_node(url, "late"))[1]
    assert isinstance(late, Recorder)
    await until(lambda: set(late.prices()) == {f"provider-{number}/ask" for number in (1, 2, 3)})


async def _is_shared(node: SharedBook) -> bool:
    answer = await node.claim(a_claim("probe", "provider-9/ask"))
    return isinstance(answer, Granted) and not answer.degraded


def _owner(servers: list[RedisServer]) -> RedisServer:
    """The master of the partition."""
    slot = int(servers[0].ask("cluster", "keyslot", KEYS.head))
    for line in servers[0].ask("cluster", "nodes").splitlines():
        _, place, flags, *_, ranges = line.split()
        first, _, last = ranges.partition("-")
        if "master" in flags and int(first) <= slot <= int(last):
            port = int(place.split("@")[0].rsplit(":", 1)[1])
            return next(server for server in servers if server.port == port)
    raise AssertionError("nobody owns the slot")
