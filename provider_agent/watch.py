"""Reads, every so often, what is not the agent's own: the model server's figures, and its earnings at the exchange."""

import asyncio
import logging
from collections.abc import Iterable

from gollem_client import Exchange, GollemError
from gollem_client.stubs import Earnings, GetEarningsRequest
from provider_agent import engine
from provider_agent.metrics import Gauge
from provider_agent.upstream import Upstream, UpstreamFailed

_log = logging.getLogger(__name__)
ENGINE_S = 5.0
EARNINGS_S = 60.0
_STATES = ("maturing", "payable", "in_flight", "paid", "debt")


class Watch:
    """What could not be read is left out until it can be."""

    def __init__(self, upstream: Upstream, exchange: Exchange, provider_id: str) -> None:
        self._upstream = upstream
        self._exchange = exchange
        self._provider_id = provider_id
        self._engine: dict[tuple[str, str], float] = {}
        self._earnings: Earnings | None = None

    async def run(self) -> None:
        """For as long as the agent runs."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_engine())
            group.create_task(self._watch_earnings())

    def gauges(self) -> Iterable[Gauge]:
        about = "A figure of the model server's own, by engine."
        yield "gollem_agent_engine", about, ("engine", "figure"), list(self._engine.items())
        if self._earnings is not None:
            money = [((state,), float(getattr(self._earnings, state))) for state in _STATES]
            yield "gollem_agent_earnings_credits", "Earnings at the exchange, by state.", ("state",), money
            eligible = float(self._earnings.payable) > 0 and not float(self._earnings.debt)
            yield "gollem_agent_payout_eligible", "1 if something is payable and nothing owed.", (), [((), eligible)]

    async def _watch_engine(self) -> None:
        while True:
            try:
                self._engine = engine.figures(await self._upstream.metrics(engine.MAX_TEXT_BYTES))
            except (UpstreamFailed, ValueError) as error:
                _log.debug("no figures of the model server: %s", error)
                self._engine = {}
            await asyncio.sleep(ENGINE_S)

    async def _watch_earnings(self) -> None:
        request = GetEarningsRequest(provider_id=self._provider_id)
        while True:
            try:
                self._earnings = await self._exchange.call("PayoutService/GetEarnings", request, Earnings)
            except GollemError as error:  # also an exchange that pays no money
                _log.debug("no earnings: %s", error.message)
                self._earnings = None
            await asyncio.sleep(EARNINGS_S)
