"""The command: reads the files, runs the replay, shows the figures; the last line is one of JSON."""

import asyncio
import sys
from pathlib import Path

import click
import uvloop

from benchmarks.replay.inputs import BadInput, read_asks, read_requests
from benchmarks.replay.run import Plan, replay
from benchmarks.replay.tally import Tally
from gollem.cli.failure import Failure, interrupted

DATA = Path(__file__).resolve().parent.parent / "data"
file = click.Path(dir_okay=False, path_type=Path)


# What two cores serve without queueing: each is some three calls.
REQUESTS_A_SECOND = 200


@click.command()
@click.option(
    "--requests", type=file, default=DATA / "requests.csv", help="CSV: TIMESTAMP, ContextTokens, GeneratedTokens"
)
@click.option(
    "--asks", type=file, default=DATA / "asks.csv", help="CSV: model, provider, USD per million tokens in and out"
)
@click.option("--limit", type=click.IntRange(1), help="replay the first requests only  [default: all]")
@click.option(
    "--seconds", type=click.FloatRange(1, 3600), help="time is compressed to this  [default: 1 for 200 requests]"
)
@click.option("--seed", type=int, default=1, show_default=True, help="of everything that is drawn")
@click.option("--ledger", metavar="URL", default="", help="of an empty ledger  [default: SQLite in a temporary folder]")
def main(requests: Path, asks: Path, limit: int | None, seconds: float | None, seed: int, ledger: str) -> None:
    """Replay real requests against real asks on an exchange of its own, over gRPC."""
    try:
        replayed = read_requests(requests, limit)
        pace_s = seconds or max(1.0, len(replayed) / REQUESTS_A_SECOND)
        plan = Plan(replayed, read_asks(asks), pace_s, seed, ledger)
        tally = uvloop.run(replay(plan))
    except BadInput as error:
        raise Failure(str(error)) from error
    except asyncio.CancelledError:
        raise interrupted() from None
    finish(tally)


def finish(tally: Tally) -> None:
    """Exit 0 only if the money adds up and the audit holds."""
    click.echo(tally.as_json())
    sys.exit(0 if tally.audit_ok and tally.adds_up else 1)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.replay")
