"""Whether nodes that share a book know the same of it: once nothing goes wrong any more, they must."""

from collections.abc import Sequence

from gollem.market import Ask
from tests.simulation.node import Node


def disagreement(nodes: Sequence[Node], sold: Sequence[Ask]) -> str:
    """The first thing that a node has otherwise than agents sell it, or still has to tell; empty if there is none."""
    for node in nodes:
        floor, status = node.exchange.floor, node.exchange.shared.status()
        if status.degraded or status.waiting:
            return f"{node.name} is cut off, or has not told all: {status}"
        if len(floor) != len(sold):
            return f"{node.name} has {len(floor)} asks of {len(sold)}"
        for ask in sold:
            if floor.ask(ask.key) != ask:
                return f"{node.name} has {floor.ask(ask.key)} and sold is {ask}"
    return ""
