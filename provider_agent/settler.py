"""Turns what was delivered into money: every finished generation is settled, over outages and restarts."""

import asyncio
import logging

from gollem_client import Exchange, GollemError, errors
from gollem_client.stubs import SettleRequest, SettleRequestOutcome, SettleResponse, Usage
from provider_agent import traces
from provider_agent.backoff import Backoff
from provider_agent.journal import Earning, Journal
from provider_agent.metrics import AgentMetrics

_log = logging.getLogger(__name__)

_BATCH = 16
_TRACES_KEPT = 1_000
# The exchange has decided, and repeating the call will not change it.
_FINAL = (errors.HoldClosed, errors.UnknownOrder, errors.Forbidden, errors.KeyReused, errors.InvalidField)


class Settler:
    """Empties the journal of what is unsettled; what the exchange has not answered stays in it."""

    def __init__(self, journal: Journal, exchange: Exchange, provider_id: str, metrics: AgentMetrics) -> None:
        self._metrics = metrics
        self._parents: dict[str, str] = {}
        self._journal = journal
        self._exchange = exchange
        self._provider_id = provider_id
        self._backoff = Backoff()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()

    async def finished(self, earning: Earning) -> None:
        """A generation has ended. When this returns, its earning survives a crash."""
        self._empty.clear()
        self._remember_trace(earning.order_id)
        await self._journal.finish(earning)
        self._wake.set()

    async def run(self) -> None:
        """Settle whatever there is, for as long as the agent runs."""
        while True:
            self._wake.clear()
            earnings = await self._journal.unsettled(_BATCH)
            if not earnings:
                self._empty.set()
                await self._wake.wait()
            elif all(await asyncio.gather(*map(self._settle, earnings))):
                self._backoff.reset()
            else:
                await asyncio.sleep(self._backoff.pause_s())

    async def drained(self, timeout_ms: int) -> bool:
        """Wait until nothing is left to settle; False when the time is up first: it is settled after a restart."""
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def _settle(self, earning: Earning) -> bool:
        """Whether the exchange has answered for good."""
        request = SettleRequest(
            provider_id=self._provider_id,
            order_id=earning.order_id,
            usage=Usage(prompt_tokens=earning.tokens.prompt, completion_tokens=earning.tokens.completion),
            outcome=SettleRequestOutcome.from_string(earning.outcome.value),
        )
        try:
            with traces.span("settle", self._parents.get(earning.order_id), order_id=earning.order_id):
                answer = await self._exchange.call("ProviderService/Settle", request, SettleResponse)
            self._metrics.settled(answer.provider_share)
            _log.info("order %s settled: %s credits of %s", earning.order_id, answer.provider_share, answer.charged)
        except _FINAL as error:
            self._metrics.never_settled()
            _log.warning("order %s will never be settled: %s", earning.order_id, error.message)
        except GollemError as error:
            _log.warning("order %s is not settled yet: %s", earning.order_id, error.message)
            return False
        await self._journal.settled(earning.order_id)
        self._parents.pop(earning.order_id, None)
        return True

    def _remember_trace(self, order_id: str) -> None:
        """Of the latest orders; what is forgotten is settled without its trace."""
        if parent := traces.parent():
            self._parents[order_id] = parent
            if len(self._parents) > _TRACES_KEPT:
                del self._parents[next(iter(self._parents))]
