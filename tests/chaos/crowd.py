"""The buyers: hundreds of callers with the real client, and what they were told, kept apart from the exchange."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from gollem_client import Exchange, GollemClient, Timeouts, errors, stubs
from tests.chaos.model_server import MODEL, PROMPT_TOKENS

TIMEOUTS = Timeouts(connect_ms=1_000, receipt_ms=1)
REPEAT_PAUSE_S = 0.2
MOST_REPEATS = 200
TICK_S = 0.05


@dataclass(frozen=True)
class Told:
    """One order that the exchange acknowledged as matched."""

    account: str
    provider: str
    degraded: bool  # by the view of a node that was cut off; or it is a replay, which does not say


class Load(Protocol):
    """How much is bought, and by whose dice; see `run.Plan`."""

    @property
    def seed(self) -> int: ...
    @property
    def callers(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def tokens(self) -> int: ...
    @property
    def abandoned(self) -> float: ...


class Witness(Exchange):
    """Writes down every acknowledged match before the client knows of it."""

    def watch(self, account: str, told: dict[str, Told]) -> None:
        self._account, self._told = account, told

    async def call(self, method: str, request: Any, answer_type: Any, *, extra_ms: int = 0) -> Any:
        answer = await super().call(method, request, answer_type, extra_ms=extra_ms)
        if isinstance(answer, stubs.MatchResponse):
            told = Told(self._account, answer.offer.provider_id, answer.degraded or answer.replayed)
            self._told.setdefault(answer.order_id, told)
        return answer


class Crowd:
    """`async with` it: they buy until the end of the block, or `leave`."""

    def __init__(self, run: str, exchange: str, keys: Mapping[str, str], load: Load) -> None:
        """`keys` by account."""
        self._run = run
        self._load = load
        self._chance = random.Random(load.seed)
        self._clients: dict[str, GollemClient] = {}
        for account, key in keys.items():
            client = self._clients[account] = GollemClient(exchange, api_key=key, timeouts=TIMEOUTS)
            witness = Witness(exchange, key, client._pool, TIMEOUTS)
            client._exchange = witness
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self.told: dict[str, Told] = {}
        self.first_chunks_s: list[float] = []
        self.answered: set[str] = set()  # order ids of answers that came whole
        self.orders = 0
        self.repeats: Counter[int] = Counter()  # orders by how often their caller had to repeat them
        self.trouble: Counter[str] = Counter()
        self.stalled_s = 0.0  # the longest that this process itself stood still

    @property
    def accounts(self) -> list[str]:
        return list(self._clients)

    async def __aenter__(self) -> "Crowd":
        clients = list(self._clients.items())
        for account, client in clients:
            assert isinstance(client._exchange, Witness)
            client._exchange.watch(account, self.told)
        self._watching = asyncio.create_task(self._watch_itself())
        for number in range(self._load.callers):
            account, client = clients[number % len(clients)]
            self._tasks.append(asyncio.create_task(self._shop(client, f"{self._run}-{account}-{number}")))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._watching is not None
        for task in (tasks := [*self._tasks, self._watching]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in self._clients.values():
            await client.aclose()

    async def leave(self, within_s: float) -> None:
        """No new orders; those under way come to their end. Raises AssertionError, or what surprised a caller."""
        self._leaving.set()
        done, late = await asyncio.wait(self._tasks, timeout=within_s)
        assert not late, f"{len(late)} callers wait for ever"
        for task in done:
            task.result()

    async def watch(self, for_s: float) -> None:
        """Let them buy for a while. Raises what surprised a caller meanwhile."""
        done, _ = await asyncio.wait(self._tasks, timeout=for_s, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    def longest_gap_s(self, since_s: float, until_s: float) -> float:
        """For how long no answer began."""
        times = [since_s, *(at_s for at_s in self.first_chunks_s if since_s < at_s < until_s), until_s]
        return max(later - earlier for earlier, later in pairwise(times))

    async def _watch_itself(self) -> None:
        """On a busy machine a gap may be the load's own."""
        while True:
            slept_s = time.monotonic()
            await asyncio.sleep(TICK_S)
            self.stalled_s = max(self.stalled_s, time.monotonic() - slept_s - TICK_S)

    async def _shop(self, client: GollemClient, name: str) -> None:
        number = 0
        while not await self._has_to_leave(self._chance.expovariate(self._load.rate / self._load.callers)):
            number += 1
            self.orders += 1
            if self._chance.random() < self._load.abandoned:
                await self._abandon(client, f"{name}-{number}")
            else:
                await self._buy(client, f"{name}-{number}")

    async def _has_to_leave(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                return await self._leaving.wait()
        except TimeoutError:
            return False

    async def _buy(self, client: GollemClient, order_id: str) -> None:
        """As an application does it: the same order again while the exchange says that it may be repeated."""
        for repeats in range(MOST_REPEATS):
            try:
                await self._stream(client, order_id)
            except errors.NoFeasibleAsk as error:  # the market, not a fault
                self.trouble[error.reason] += 1
            except (errors.OrderCancelled, errors.OrderAlreadyServed) as error:
                self.trouble[error.reason] += (
                    1  # the client undid what it could not know; a new order is another's turn
                )
            except errors.ProviderFailed as error:
                self.trouble[f"{error.reason} {error.figures.get('provider_reason', '')}".strip()] += 1
            except (errors.ExchangeUnavailable, errors.OutcomeUnknown) as error:
                self.trouble[error.reason] += 1
                await asyncio.sleep(REPEAT_PAUSE_S)
                continue
            self.repeats[repeats] += 1
            return
        raise AssertionError(f"order {order_id} was repeated {MOST_REPEATS} times")

    async def _stream(self, client: GollemClient, order_id: str) -> None:
        answer = client.generate(
            MODEL,
            [{"role": "user", "content": order_id}],
            order_id=order_id,
            prompt_tokens=PROMPT_TOKENS * 8,
            max_tokens=self._load.tokens,
        )
        begun = False
        async for _ in answer:
            if not begun:
                begun = True
                self.first_chunks_s.append(time.monotonic())
        if answer.finish_reason == "stop":
            self.answered.add(answer.order_id)
        else:  # its agent had no time left
            self.trouble[f"ended as {answer.finish_reason}"] += 1

    async def _abandon(self, client: GollemClient, order_id: str) -> None:
        try:
            await client.match(MODEL, PROMPT_TOKENS, order_id=order_id, max_tokens=self._load.tokens)
        except errors.GollemError as error:
            self.trouble[error.reason] += 1
