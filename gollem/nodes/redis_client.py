"""The one client of the process, and the only file that knows the vendor: connections, functions, what an error means.

The vendor's own retries are off: whoever calls knows what may be done twice. Every failure is BookUnavailable.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from redis.asyncio import Connection, ConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisClusterException, RedisError, ResponseError

from gollem.clock import stopwatch_s
from gollem.errors import BookUnavailable
from gollem.nodes.addresses import Address, Kind
from gollem.nodes.types import Timed, nobody_times

_log = logging.getLogger(__name__)
_CONNECT_TIMEOUT_S = 1.0
_OPEN_TIMEOUT_S = 5.0
_PAGE = 500
_READ_AT_ONCE = 256
_MISSING = "Function not found"

# An entry of a stream: its id and its fields.
Entry = tuple[str, dict[str, str]]
# A client of the vendor's kind, which connects when it is used and is closed with the stack, by: where, seconds that a
# call may take, how many connections, the stack.
Connect = Callable[[Address, float, int, AsyncExitStack], Any]


@cache
def library() -> tuple[str, str]:
    """The functions' name and code. The name tells the code, so that two releases never take each other's."""
    code = Path(__file__).with_name("functions.lua").read_text()
    name = "gollem_" + blake2b(code.encode(), digest_size=6).hexdigest()
    return name, code.replace("LIBRARY", name)


class RedisClient:
    """Opened once a process, on the event loop that uses it. `connections` bounds calls at once; reads that wait for
    news have connections of their own, one a reader."""

    def __init__(
        self,
        address: Address,
        timeout_ms: int,
        block_ms: int,
        connections: int,
        readers: int,
        connect: Connect,
        timed: Timed = nobody_times,
    ) -> None:
        """`timed(operation, seconds, outcome)` hears of every call that ended."""
        self._timed = timed
        self._timeout_s = timeout_ms / 1_000
        self._block_ms = block_ms
        self._gate = asyncio.Semaphore(connections)
        self._stack = AsyncExitStack()
        self._calls: Any = connect(address, self._timeout_s, connections, self._stack)
        self._reads: Any = connect(address, self._timeout_s + block_ms / 1_000, readers, self._stack)

    async def open(self) -> None:
        """Find the servers and load the functions; time for it is longer than for a call."""
        with _translated():
            async with asyncio.timeout(_OPEN_TIMEOUT_S):
                await self._load()

    async def close(self) -> None:
        with suppress(RedisError, RedisClusterException, OSError):
            await self._stack.aclose()

    async def call(self, function: str, keys: Sequence[str], arguments: Sequence[str | int] = ()) -> Any:
        """What the function of `functions.lua` answers. Loads the functions where they are missing."""
        parts = (f"{library()[0]}_{function}", len(keys), *keys, *arguments)
        async with self._asking(function):
            try:
                return await self._calls.fcall(*parts)
            except ResponseError as error:
                if _MISSING not in str(error):
                    raise
            await self._load()
            return await self._calls.fcall(*parts)

    async def news(self, stream: str, after: str) -> list[Entry]:
        """Entries after this id, waiting for the first of them; none if none came."""
        with _translated():
            found = await self._reads.xread({stream: after}, count=_READ_AT_ONCE, block=self._block_ms)
        return found[0][1] if found else []

    async def page(self, key: str, cursor: int) -> tuple[int, Mapping[str, str]]:
        """Some fields of a hash, and where to go on; 0 is the beginning, and the end. A field may come twice."""
        async with self._asking("page"):
            following, fields = await self._calls.hscan(key, cursor, count=_PAGE)
        return int(following), fields

    async def fields(self, key: str) -> Mapping[str, str]:
        """A small hash, whole."""
        async with self._asking("fields"):
            found: Mapping[str, str] = await self._calls.hgetall(key)
        return found

    async def remove(self, key: str, field: str) -> None:
        async with self._asking("remove"):
            await self._calls.hdel(key, field)

    async def agree(self, key: str, value: str) -> str:
        """The value that whoever came first has set."""
        async with self._asking("agree"):
            found: str | None = await self._calls.set(key, value, nx=True, get=True)
        return value if found is None else found

    async def _load(self) -> None:
        """On every master, of a Cluster. That another node has just done so does not matter: it is the same."""
        await self._calls.function_load(library()[1], replace=True)

    @asynccontextmanager
    async def _asking(self, operation: str) -> AsyncIterator[None]:
        """One call: bounded in time, with its wait for a connection, and in its errors."""
        with self._timing(operation), _translated():
            async with asyncio.timeout(self._timeout_s), self._gate:
                try:
                    yield
                except ReadOnlyError:  # of a server that is no master any more: its name may mean another by now
                    await self.forget_connections()
                    raise

    @contextmanager
    def _timing(self, operation: str) -> Iterator[None]:
        began_s, outcome = stopwatch_s(), "failed"
        try:
            yield
            outcome = "ok"
        finally:
            self._timed(operation, stopwatch_s() - began_s, outcome)

    async def forget_connections(self, used: bool = True) -> None:
        """Of one server at a time: what is called next is called where its address leads by then. `used` ends calls
        that are under way, too."""
        for client in (self._calls, self._reads):
            if isinstance(client, Redis):
                await client.connection_pool.disconnect(inuse_connections=used)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
        raise BookUnavailable(f"the shared book: {error or type(error).__name__}") from error
    except Exception as error:  # of the vendor's own making: for whoever asked it is the same
        _log.exception("the client of Redis failed as it should not")
        raise BookUnavailable("the shared book: its client failed") from error


def connect(address: Address, timeout_s: float, connections: int, stack: AsyncExitStack) -> Any:
    """Of the kind that the address asks for."""
    common: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": _CONNECT_TIMEOUT_S,
        "protocol": 2,
        "decode_responses": True,
        "encoding_errors": "replace",
        "retry": Retry(NoBackoff(), 0),
    }
    authority: dict[str, Any] = {"ssl_ca_certs": address.authority or None} if address.tls else {}
    switch: dict[str, Any] = {"ssl": True, **authority} if address.tls else {}
    login = {"username": address.user or None, "password": address.password or None}
    options = common | login | {"max_connections": connections}
    client: Any
    match address.kind:
        case Kind.SINGLE:
            host, port = address.hosts[0]
            kind = SSLConnection if address.tls else Connection
            client = Redis.from_pool(ConnectionPool(kind, host=host, port=port, **options, **authority))
        case Kind.SENTINEL:
            sentinel = Sentinel(list(address.hosts), sentinel_kwargs=common | switch)  # type: ignore[no-untyped-call]
            stack.push_async_callback(sentinel.aclose)
            client = sentinel.master_for(address.master, **options, **switch)
        case Kind.CLUSTER:
            nodes = [ClusterNode(host, port) for host, port in address.hosts]
            client = RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options, **switch)
    stack.push_async_callback(client.aclose)
    return client
