"""The user of deploy/terraform/book.tf: it may do what the exchange needs, on a server and on a Cluster; no more."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gollem.nodes import Granted, Lease
from tests.nodes.conftest import OpenNode
from tests.nodes.samples import MODEL, a_claim, heard, placed
from tests.servers.redis_server import RedisServer
from tests.until import until

BOOK = Path(__file__).parents[2] / "deploy/terraform/book.tf"
USER, PASSWORD = "exchange", "secret"
# Asked by the library only when a connection is new, broken, or to a replica; or part of a server's handshake.
SELDOM = {"auth", "client|setinfo", "client|setname", "cluster|nodes", "cluster|shards", "cluster|slots", "command",
          "echo", "hello", "ping", "quit", "readonly", "readwrite"}  # fmt: skip

UNKNOWN_TO_REDIS_7_0 = {"+client|setinfo"}  # of 7.2, which MemoryDB has


def commands() -> list[str]:
    return re.findall(r'"([a-z|]+)"', BOOK.read_text().partition("book_commands = [")[2].partition("]")[0])


def rules() -> list[str]:
    """Of ACL SETUSER, as MemoryDB takes them for an access string."""
    written = re.search(r'access_string = "(.+?) \$\{', BOOK.read_text())
    assert written is not None
    return [*written[1].split(), *[f"+{command}" for command in commands()]]


@pytest.fixture(params=["redis", "cluster"])
def servers(request: pytest.FixtureRequest) -> Iterator[list[RedisServer]]:
    found = request.getfixturevalue(request.param)
    all_of_them = found if isinstance(found, list) else [found]
    for server in all_of_them:
        server.ask("function", "flush")
        known = [rule for rule in rules() if rule not in UNKNOWN_TO_REDIS_7_0]
        assert server.ask("acl", "setuser", USER, "reset", f">{PASSWORD}", *known) == "OK"
        server.ask("acl", "log", "reset")
        server.ask("config", "resetstat")
    yield all_of_them
    for server in all_of_them:
        server.ask("acl", "deluser", USER)


async def test_it_is_enough_and_nothing_is_too_much(servers: list[RedisServer], open_node: OpenNode) -> None:
    kind = "redis+cluster" if len(servers) > 1 else "redis"
    url = f"{kind}://{USER}:{PASSWORD}@" + ",".join(f"127.0.0.1:{server.port}" for server in servers)
    (one, _), (other, there) = await open_node(url, "one"), await open_node(url, "other")
    one.announce(placed(1))
    one.announce(heard(1))
    await until(lambda: there.changes)
    answer = await one.claim(a_claim("a"))
    assert isinstance(answer, Granted)
    lease = Lease("a", "provider-1/ask", MODEL, 10, answer.fence)
    assert await other.renew(lease, 60_000)
    assert await other.restore([(lease, 60_000)]) == 1
    assert await other.release(lease)
    assert len(await one.nodes()) == 2
    await one.close()
    refused = [line for server in servers for line in server.ask("acl", "log").splitlines() if line == "command"]
    assert refused == []
    assert set(commands()) - used(servers) <= SELDOM


def used(servers: list[RedisServer]) -> set[str]:
    return {
        command
        for server in servers
        for command in re.findall(r"cmdstat_([a-z|]+):", server.ask("info", "commandstats"))
    }


def test_it_may_not_touch_what_is_not_the_exchanges(servers: list[RedisServer]) -> None:
    tried = {
        "get other": ("get", "other"),
        "del": ("del", "gollem:1:x"),
        "flushall": ("flushall",),
        "keys": ("keys", "*"),
    }
    for what, words in tried.items():
        assert "no permissions" in servers[0].ask("acl", "dryrun", USER, *words), what
    assert servers[0].ask("acl", "dryrun", USER, "get", "gollem:1:x") == "OK"
