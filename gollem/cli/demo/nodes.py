"""The act of several nodes: one is killed while an answer streams, and nobody who buys or sells is any the worse."""

import asyncio

from rich.console import Console

from gollem.cli.demo.processes import Processes
from gollem.cli.demo.stage import OPERATOR, Stage
from gollem.cli.failure import Failure
from gollem.cli.nodes import ask_nodes, nodes_table
from gollem_client import GollemClient
from gollem_client.generation import Generation

_SETTLED_WITHIN_S = 20.0
_POLL_S = 0.05
_KILLED_AT_CHUNK = 5


class Assassin:
    """Kills the node that sold the answer, once that has begun. Of one exchange alone it kills nothing."""

    def __init__(self, processes: Processes, stage: Stage, client: GollemClient, screen: Console) -> None:
        self._processes = processes
        self._stage = stage
        self._client = client
        self._screen = screen
        self._chunks = 0
        self.killed = ""

    async def saw_chunk(self) -> None:
        self._chunks += 1
        if len(self._stage.ports) > 1 and self._chunks == _KILLED_AT_CHUNK:
            self.killed = self._stage.node_at(self._client.place)
            await self._processes.kill(self.killed)
            self._screen.print(f" [kill -9 {self.killed}] ", style="bold red", end="", markup=False)


async def until_settled(client: GollemClient, answer: Generation) -> None:
    """The agent may have to find another node first. Raises Failure."""
    try:
        async with asyncio.timeout(_SETTLED_WITHIN_S):
            while answer.receipt is None:
                answer.receipt = await client.report(answer.order_id)
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise Failure(f"the provider has not settled within {_SETTLED_WITHIN_S:.0f} s") from None


async def show(stage: Stage, screen: Console, killed: str) -> None:
    """Who is left, as `gollem nodes` tells it; the others forget a dead node after a while."""
    listed = await ask_nodes(stage.server(OPERATOR))
    screen.print(f"\n{killed} sold this answer and was killed in the middle; it was settled without it", style="bold")
    screen.print(nodes_table(listed))
