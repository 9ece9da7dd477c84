"""`gollem nodes`: the servers that share one book."""

import click

from gollem.cli import output
from gollem.cli.connection import Server, call, server_options
from gollem_client import stubs


@click.command()
@output.json_option
@server_options
def nodes(server: Server, as_json: bool) -> None:
    """Show the servers that share one book, and how each is. Needs the key of an operator."""
    answer = call(server, "AdminService/ListNodes", stubs.ListNodesRequest(), stubs.ListNodesResponse)
    if as_json:
        output.print_json(answer)
        return
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
            "degraded" if node.degraded else "well",
        )
    output.stdout().print(shown)
