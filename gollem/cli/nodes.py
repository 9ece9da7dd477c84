"""`gollem nodes`: the servers that share one book."""

import click
from rich.table import Table

from gollem.cli import output
from gollem.cli.connection import Server, ask, run, server_options
from gollem_client import stubs

_SILENT_MS = 5_000  # a node tells of itself each second, unless it is set otherwise


@click.command()
@output.json_option
@server_options
def nodes(server: Server, as_json: bool) -> None:
    """Show the servers that share one book, and how each is. Needs the key of an operator."""
    answer = run(ask_nodes(server))
    if as_json:
        output.print_json(answer)
        return
    output.stdout().print(nodes_table(answer))


async def ask_nodes(server: Server) -> stubs.ListNodesResponse:
    """Raises Failure."""
    return await ask(server, "AdminService/ListNodes", stubs.ListNodesRequest(), stubs.ListNodesResponse)


def nodes_table(answer: stubs.ListNodesResponse) -> Table:
    shown = output.table("node", "version", "heard of", "asks", "lag", "claims refused", "epoch", "grants", "state")
    for node in answer.nodes:
        shown.add_row(
            node.name,
            node.version,
            f"{node.heartbeat_age_ms} ms ago",
            str(node.asks),
            f"{node.lag_ms} ms",
            str(node.refused),
            str(node.epoch or "-"),
            " ".join(name[:8] for name in node.grant_keys) or "-",
            _state(node),
        )
    return shown


def _state(node: stubs.NodeInfo) -> str:
    """What a node that has died said last is no news of it. One that is cut off tells of itself, and of nobody else."""
    if node.degraded:
        return "degraded"
    return "silent" if node.heartbeat_age_ms > _SILENT_MS else "well"
