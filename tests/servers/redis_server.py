"""Real Redis processes on free loopback ports: one alone, with TLS, a Sentinel set, a Cluster, and a user that may do
what MemoryDB lets one do. Nothing is written to disk, nothing is left behind.

A missing redis-server fails loudly: a shared book that was not tried on Redis must not look as if it had been.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_START_TIMEOUT_S = 30
MASTER = "book"
# https://docs.aws.amazon.com/memorydb/latest/devguide/restrictedcommands.html, and what it says of clusters' slots.
# Each with words that make a call of it. Redis Cluster has `addslots` where that page says `addslot`, and so on.
FORBIDDEN = {
    "acl|deluser": "nobody",
    "acl|load": "",
    "acl|save": "",
    "acl|setuser": "nobody",
    "bgrewriteaof": "",
    "bgsave": "",
    "cluster|addslots": "1",
    "cluster|addslotsrange": "1 2",
    "cluster|delslots": "1",
    "cluster|delslotsrange": "1 2",
    "cluster|setslot": "1 stable",
    "config": "get *",
    "debug": "jmap",
    "migrate": "127.0.0.1 1 key 0 1",
    "module": "list",
    "psync": "? -1",
    "replicaof": "no one",
    "save": "",
    "shutdown": "nosave",
    "slaveof": "no one",
    "sync": "",
}


class RedisServer:
    """One process. It may be killed, and started again without what it held."""

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not running"
        return self._process.pid

    def start(self) -> None:
        arguments = [_tool("redis-server"), "--port", str(self.port), "--dir", str(self._folder), "--save", ""]
        arguments += ["--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0", *self._options]
        with (self._folder / f"{self.port}.log").open("ab") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def ask(self, *command: str) -> str:
        """What it answers, by a connection of its own; errors come as text, too."""
        arguments = [_tool("redis-cli"), "-p", str(self.port), *command]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=10, check=False).stdout.strip()


@contextmanager
def redis_server(*options: str, port: int = 0) -> Iterator[RedisServer]:
    """A server alone."""
    with _folder() as folder, _started(folder, *options, port=port) as server:
        wait_for(lambda: server.ask("ping") == "PONG", "an answer")
        yield server


@contextmanager
def tls_server(key: Path, certificate: Path, authority: Path) -> Iterator[RedisServer]:
    """A server that speaks TLS only, and asks its clients for no certificate."""
    port = free_port()
    files = ["--tls-key-file", str(key), "--tls-cert-file", str(certificate), "--tls-ca-cert-file", str(authority)]
    with _folder() as folder:
        server = RedisServer(
            folder, "--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", *files, port=port
        )
        server.start()
        try:
            wait_for(lambda: _is_open(port), "a port")
            yield server
        finally:
            server.stop()


def restrict(server: RedisServer, user: str, password: str) -> None:
    """Make an ACL user who may do all but what MemoryDB forbids."""
    rules = [f"-{command}" for command in FORBIDDEN]
    answer = server.ask("acl", "setuser", user, "on", f">{password}", "~*", "&*", "+@all", *rules)
    assert answer == "OK", answer


@contextmanager
def sentinels(size: int = 3) -> Iterator[tuple[list[RedisServer], list[int]]]:
    """A master and its replica, and the ports of Sentinels that watch them."""
    with _folder() as folder, ExitStack() as stack:
        master = stack.enter_context(_started(folder))
        wait_for(lambda: master.ask("ping") == "PONG", "an answer")
        replica = stack.enter_context(_started(folder, "--replicaof", "127.0.0.1", str(master.port)))
        wait_for(lambda: _is_in_step(replica), "a replica")
        watchers = [stack.enter_context(_sentinel(folder, master.port)) for _ in range(size)]
        for watcher in watchers:
            wait_for(lambda watcher=watcher: _sees(watcher, others=size - 1, replicas=1), "Sentinels that agree")
        yield [master, replica], [watcher.port for watcher in watchers]


@contextmanager
def cluster(masters: int = 3) -> Iterator[list[RedisServer]]:
    """Masters with a replica each; masters come first."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
    with _folder() as folder, ExitStack() as stack:
        servers = []
        for _ in range(2 * masters):
            port = free_port()
            named = (*options, "--cluster-config-file", f"{port}.conf", "--cluster-port", str(free_port()))
            servers.append(stack.enter_context(_started(folder, *named, port=port)))
        for server in servers:
            wait_for(lambda server=server: server.ask("ping") == "PONG", "an answer")
        places = [f"127.0.0.1:{server.port}" for server in servers]
        arguments = [_tool("redis-cli"), "--cluster", "create", *places, "--cluster-replicas", "1", "--cluster-yes"]
        made = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
        assert made.returncode == 0, made.stdout + made.stderr
        for server in servers:
            wait_for(lambda server=server: "cluster_state:ok" in server.ask("cluster", "info"), "a Cluster")
        wait_for(lambda: sum(map(_is_in_step, servers)) == masters, "replicas that may take a master's place")
        yield servers


def wait_for(condition: Callable[[], bool], what: str, within_s: float = _START_TIMEOUT_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {within_s:g} s for {what}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _started(folder: Path, *options: str, port: int = 0) -> Iterator[RedisServer]:
    server = RedisServer(folder, *options, port=port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _sentinel(folder: Path, master_port: int) -> Iterator[RedisServer]:
    """A Sentinel that finds a master dead after half a second. It writes into its own file."""
    port = free_port()
    file = folder / f"sentinel-{port}.conf"
    file.write_text(
        f"port {port}\n"
        "bind 127.0.0.1\n"
        f"dir {folder}\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {master_port} 2\n"
        f"sentinel down-after-milliseconds {MASTER} 500\n"
        f"sentinel failover-timeout {MASTER} 2000\n"
    )
    with (folder / f"{port}.log").open("ab") as log:
        process = subprocess.Popen([_tool("redis-server"), str(file), "--sentinel"], stdout=log, stderr=log)
    try:
        yield RedisServer(folder, port=port)
    finally:
        process.kill()
        process.wait()


def _is_in_step(server: RedisServer) -> bool:
    """Whether it is a replica that has what its master has."""
    return "master_link_status:up" in server.ask("info", "replication")


def _sees(sentinel: RedisServer, others: int, replicas: int) -> bool:
    found = sentinel.ask("sentinel", "master", MASTER).split("\n")
    told = dict(zip(found[::2], found[1::2], strict=False))
    return told.get("num-other-sentinels") == str(others) and told.get("num-slaves") == str(replicas)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gollem-redis-") as name:
        yield Path(name)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is missing: apt-get install redis-server, as .ci/run does")
    return found
