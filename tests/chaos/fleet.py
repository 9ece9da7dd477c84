"""The sellers: real provider agents in this process, each with its own connection to whichever node answers."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gollem_client import Timeouts
from provider_agent.agent import Agent
from provider_agent.options import Options
from tests.chaos.model_server import MODEL, ModelServer

READY_S = 60


class Fleet:
    """`async with` it: all are in the book, and at the end all have settled and left."""

    def __init__(self, folder: Path, exchange: str, keys: Mapping[str, str], model: ModelServer, slots: int) -> None:
        """`keys` by provider."""
        self._agents = [
            Agent(
                Options(
                    provider_id=provider,
                    model=MODEL,
                    price="0.001",
                    latency_ms=500,
                    throughput_tps=100.0,
                    api_key=key,
                    exchange=exchange,
                    upstream=model.url(provider),
                    slots=slots,
                    state_dir=folder / provider,
                ),
                timeouts=Timeouts(connect_ms=1_000, turn_ms=1_000),
            )
            for provider, key in keys.items()
        ]
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Fleet":
        self._running = [asyncio.create_task(agent.run()) for agent in self._agents]
        async with asyncio.timeout(READY_S):
            await asyncio.gather(*(agent.ready.wait() for agent in self._agents))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()
        for task in self._running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def leave(self) -> None:
        """Settle what is served, and go. Raises what ended an agent before its time."""
        for agent in self._agents:
            agent.stop()
        _, late = await asyncio.wait(self._running, timeout=READY_S)
        assert not late, f"{len(late)} agents do not end"
        for task in self._running:
            task.result()
