"""`gollem demo`: the whole of GoLLeM on this machine, with a real model; then one line of JSON."""

import json
import sys
import tempfile
from pathlib import Path

import click

from gollem.cli.connection import run
from gollem.cli.failure import Failure

_NODES = "of the exchange, over Redis and DynamoDB Local, one of which is killed while the answer streams"


@click.command()
@click.option("--keep", is_flag=True, help="leave everything running at the end, and print commands to try")
@click.option("--prompt", default="Explain in two sentences why the sky is blue.", show_default=True)
@click.option("--ledger", metavar="URL", default="", help="of an empty ledger  [default: SQLite in the demo's folder]")
@click.option("--nodes", type=click.IntRange(1, 9), default=1, show_default=True, help=_NODES)
def demo(keep: bool, prompt: str, ledger: str, nodes: int) -> None:
    """See all of it work: an exchange, three providers before a real model, one streamed answer, the money.

    What is for people goes to stderr. The last line on stdout is JSON; exit status 0 only if everything held.
    """
    from gollem.cli.demo import story

    if not prompt.strip():
        raise Failure("the prompt is empty")
    folder = Path(tempfile.mkdtemp(prefix="gollem-demo-"))
    outcome = run(story.tell(folder, prompt, keep, ledger, nodes))
    click.echo(json.dumps(outcome.figures, ensure_ascii=False))
    sys.exit(0 if outcome.held_true else 1)
