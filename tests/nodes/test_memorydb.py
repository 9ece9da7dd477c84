"""Everything works for a user who may do no more than MemoryDB allows, over TLS, and only with the password."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gollem.errors import BookUnavailable
from gollem.nodes import Granted, Lease
from tests.grpclib_guard.certificates import Certificates
from tests.nodes.conftest import OpenNode
from tests.nodes.samples import MODEL, a_claim, heard, placed
from tests.servers.redis_server import FORBIDDEN, RedisServer, restrict, tls_server
from tests.until import until

USER, PASSWORD = "exchange", "p@ss:word/"
_LOGIN = f"{USER}:p%40ss%3Aword%2F"


@pytest.fixture
def restricted_url(redis: RedisServer) -> Iterator[str]:
    restrict(redis, USER, PASSWORD)
    yield f"redis://{_LOGIN}@127.0.0.1:{redis.port}"
    redis.ask("acl", "deluser", USER)


async def test_what_memorydb_forbids_is_not_needed(
    redis: RedisServer, restricted_url: str, open_node: OpenNode
) -> None:
    (one, _), (other, there) = await open_node(restricted_url, "one"), await open_node(restricted_url, "other")
    one.announce(placed(1))
    one.announce(heard(1))
    await until(lambda: there.changes)
    answer = await one.claim(a_claim("a"))
    assert isinstance(answer, Granted)
    lease = Lease("a", "provider-1/ask", MODEL, 10, answer.fence)
    assert await other.renew(lease, 60_000)
    assert await other.restore([(lease, 60_000)]) == 1
    assert await other.release(lease)
    redis.ask("flushall")
    await until(lambda: other.status().rebuilt > 2)
    redis.ask("function", "flush")
    assert isinstance(await one.claim(a_claim("b")), Granted)
    await until(lambda: not one.status().degraded)
    assert len(await one.nodes()) == 2
    refused = [line for line in redis.ask("acl", "log").splitlines() if line == "command"]
    assert refused == []


@pytest.mark.parametrize("command", FORBIDDEN)
def test_the_user_may_indeed_not(redis: RedisServer, restricted_url: str, command: str) -> None:
    words = [*command.split("|"), *FORBIDDEN[command].split()]
    name = " ".join(command.split("|"))
    assert redis.ask("acl", "dryrun", "default", *words) == "OK"
    assert f"no permissions to run the '{name}" in redis.ask("acl", "dryrun", USER, *words).replace("|", " ")


def test_and_is_told_so(redis: RedisServer, restricted_url: str) -> None:
    login = ("--user", USER, "--pass", PASSWORD, "--no-auth-warning")
    assert redis.ask(*login, "ping") == "PONG"
    for command in ("config", "module", "acl|setuser", "bgsave", "replicaof"):
        words = [*command.split("|"), *FORBIDDEN[command].split()]
        assert redis.ask(*login, *words).startswith("NOPERM")


async def test_a_wrong_password_is_an_error(restricted_url: str, open_node: OpenNode) -> None:
    with pytest.raises(BookUnavailable, match="invalid username-password"):
        await open_node(restricted_url.replace(_LOGIN, f"{USER}:wrong"), join_ms=300)


@pytest.fixture
def tls_url(tmp_path: Path) -> Iterator[str]:
    certificates = Certificates(tmp_path)
    key, certificate = certificates.issue("localhost")
    files = {"key": key, "certificate": certificate, "authority": certificates.authority}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with tls_server(tmp_path / "key", tmp_path / "certificate", tmp_path / "authority") as server:
        yield f"rediss://localhost:{server.port}?ca={tmp_path / 'authority'}"


async def test_tls(tls_url: str, open_node: OpenNode) -> None:
    (one, _), (_, there) = await open_node(tls_url, "one"), await open_node(tls_url, "other")
    one.announce(placed(1))
    await until(lambda: there.changes)
    assert isinstance(await one.claim(a_claim("a")), Granted)


async def test_a_server_of_another_authority_is_not_trusted(tls_url: str, open_node: OpenNode) -> None:
    with pytest.raises(BookUnavailable, match="certificate"):
        await open_node(tls_url.partition("?")[0], join_ms=1_000)
