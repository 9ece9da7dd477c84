"""The agent as a real process: its command line, SIGTERM, and kill -9 in the middle of a generation."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError

from provider_agent.pb.inference_grpc import InferenceServiceStub
from provider_agent.pb.inference_pb2 import GenerateRequest
from tests.fakes.exchange import FakeExchange
from tests.fakes.upstream import HANG, FakeUpstream
from tests.provider_agent.test_serving import MESSAGES, ask, settled
from tests.until import WITHIN_S

COMMAND = ["-m", "provider_agent", "--provider-id", "p1", "--ask-price", "0.001", "--model", "m"]
ROOT = Path(__file__).resolve().parents[2]


Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts agents; whatever still runs after the test is killed."""
    started: list[asyncio.subprocess.Process] = []

    async def start(*arguments: str, key: str = "key-of-p1") -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *COMMAND, *arguments,
            cwd=ROOT, env={**os.environ, "GOLLEM_API_KEY": key}, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@asynccontextmanager
async def suppressed(kind: type[Exception]) -> AsyncIterator[None]:
    """As contextlib.suppress, among asynchronous managers."""
    with suppress(kind):
        yield


def arguments(exchange: FakeExchange, upstream: FakeUpstream, folder: Path) -> list[str]:
    return ["--exchange", exchange.address, "--upstream", upstream.url, "--state-dir", str(folder)]


def channel_to(exchange: FakeExchange) -> Channel:
    [registered] = exchange.asks.values()
    host, _, port = registered.endpoint.rpartition(":")
    return Channel(host, int(port))


async def test_sigterm_deregisters_and_ends_well(
    start: Start, exchange: FakeExchange, upstream: FakeUpstream, tmp_path: Path
) -> None:
    process = await start(*arguments(exchange, upstream, tmp_path))
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: bool(exchange.telemetry))
        process.send_signal(signal.SIGTERM)
        _, told = await process.communicate()
    assert process.returncode == 0
    assert exchange.deregistrations == 1
    assert b"key-of-p1" not in told


async def test_kill_9_loses_neither_earnings_nor_the_memory_of_grants(
    start: Start, exchange: FakeExchange, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """One order is finished and unsettled, one is half delivered; both are settled after the restart."""
    process = await start(*arguments(exchange, upstream, tmp_path))
    exchange.unsettling = True
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: bool(exchange.telemetry))
        async with channel_to(exchange) as channel:
            consumer = InferenceServiceStub(channel)
            await ask(consumer, exchange.signer.grant(order_id="done"))
            upstream.script = ["Hel", "lo", HANG]
            async with suppressed(StreamTerminatedError), consumer.Generate.open() as stream:
                request = GenerateRequest(grant=exchange.signer.grant(order_id="half"), messages=MESSAGES)
                await stream.send_message(request, end=True)
                assert [(await stream.recv_message()).chunk.text for _ in range(2)] == ["Hel", "lo"]
                # Progress is noted each second, and the exchange hears of it after it was noted.
                seen = len(exchange.telemetry)
                await exchange.until(lambda: len(exchange.telemetry) > seen + 120)
                process.kill()
                await process.wait()
                with pytest.raises(StreamTerminatedError):
                    await stream.recv_message()
        assert exchange.settled == {}
        exchange.unsettling = False
        again = await start(*arguments(exchange, upstream, tmp_path))
        assert await settled(exchange, "done") == (7, 3, "COMPLETED")
        assert await settled(exchange, "half") == (7, 2, "FAILED")
        await exchange.until(lambda: exchange.registrations == 2)
        async with channel_to(exchange) as channel:
            with pytest.raises(Exception, match="has been used"):
                await ask(InferenceServiceStub(channel), exchange.signer.grant(order_id="half"))
        again.terminate()
        await again.communicate()


@pytest.mark.parametrize(
    ("more", "key", "told"),
    [
        ([], "", b"GOLLEM_API_KEY"),
        (["--listen", "0.0.0.0:0"], "k", b"--endpoint"),
        (["--listen", "nonsense"], "k", b"--listen"),
        (["--tls-cert", __file__], "k", b"--tls-key"),
        (["--exchange", "nonsense"], "k", b"address"),
    ],
)
async def test_mistakes_on_the_command_line_are_told(
    start: Start, more: list[str], key: str, told: bytes, tmp_path: Path
) -> None:
    process = await start("--state-dir", str(tmp_path), *more, key=key)
    async with asyncio.timeout(WITHIN_S):
        _, message = await process.communicate()
    assert process.returncode in (1, 2)
    assert told in message
    assert b"Traceback" not in message
