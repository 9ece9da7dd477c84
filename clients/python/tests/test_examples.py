"""The examples as programs: against an exchange that answers, that refuses, and that is not there."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from grpclib import Status

from gollem.rpc.pb import market_pb2
from tests.fakes.exchange import FakeExchange
from tests.fakes.faults import fault
from tests.fakes.provider import AddProvider
from tests.until import WITHIN_S

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


async def run(name: str, server: str) -> tuple[int | None, str, str]:
    """Exit status, output and errors of an example."""
    environment = {**os.environ, "GOLLEM_SERVER": server, "GOLLEM_API_KEY": "key-of-alice"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / name), env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(WITHIN_S):
        out, told = await process.communicate()
    return process.returncode, out.decode(), told.decode()


async def test_generate_streams_an_answer(exchange: FakeExchange, add_provider: AddProvider) -> None:
    provider = await add_provider("p1")
    exchange.asks.clear()
    exchange.add_ask("p1", provider.endpoint, model="smollm2-135m")
    status, out, told = await run("generate.py", exchange.address)
    assert (status, told) == (0, "")
    assert out.startswith("Hello!\nfrom p1, first token after ")
    assert exchange.keys == {"Bearer key-of-alice"}


async def test_generate_says_what_excludes_everybody(exchange: FakeExchange) -> None:
    figures = {"excluded_by.price": "3"}
    exchange.next["Match"].append(fault(Status.FAILED_PRECONDITION, "NO_FEASIBLE_ASK", **figures))
    assert await run("generate.py", exchange.address) == (1, "", "nobody meets these limits: {'price': 3}\n")


async def test_watch_book_prints_what_is_there(exchange: FakeExchange) -> None:
    depth = market_pb2.ModelBook(model="m", live_asks=2, best_price="0.001")
    exchange.books = [market_pb2.OrderBook(models=[depth])]
    assert await run("watch_book.py", exchange.address) == (0, "m: 2 asks, best 0.001\n", "")


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
async def test_an_error_is_one_line(name: str) -> None:
    status, out, told = await run(name, "127.0.0.1:1")
    assert (status, out) == (1, "")
    assert told.startswith("no connection to the exchange at 127.0.0.1:1: ")
    assert told.endswith("(EXCHANGE_UNREACHABLE)\n")
    assert told.count("\n") == 1
