"""The real agent, for as long as a test needs it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from provider_agent.agent import Agent
from tests.until import WITHIN_S


@asynccontextmanager
async def at_work(agent: Agent) -> AsyncIterator[Agent]:
    """It sells by the time the block begins, and has left when it is over."""
    running = asyncio.ensure_future(agent.run())
    async with asyncio.timeout(WITHIN_S):
        await agent.ready.wait()
    yield agent
    agent.stop()
    async with asyncio.timeout(WITHIN_S):
        await running
