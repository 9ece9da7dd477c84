"""`gollem generate` against a real exchange, real agents and a model server that plays a script."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gollem.cli.connection import Server, ask
from gollem.cli.demo.processes import Processes, answers, free_port
from gollem.cli.keys import new_key, write_secret
from gollem.identity import Role
from gollem_client import stubs
from tests.fakes.upstream import HANG, FakeUpstream, fake_upstream
from tests.until import WITHIN_S, until, until_answer

MODEL = "smollm2-135m"
ACCOUNTS = {"alice": Role.CONSUMER, "house": Role.OPERATOR, "p1": Role.PROVIDER, "p2": Role.PROVIDER}


class Shop:
    """An exchange with an agent p1 before the fake model server, and alice, who has credits."""

    def __init__(self, folder: Path, processes: Processes, upstream: FakeUpstream) -> None:
        self.folder, self.upstream = folder, upstream
        self.port = free_port()
        self._processes = processes

    def server(self, account: str) -> Server:
        return Server(f"127.0.0.1:{self.port}", (self.folder / account).read_text().strip())

    async def open(self) -> None:
        for account, role in ACCOUNTS.items():
            write_secret(self.folder / account, (await new_key(self.folder / "data", account, role)).secret)
        words = ["-m", "gollem", "serve", "--data", str(self.folder / "data"), "--port", str(self.port)]
        words += ["--set", "server.metrics_port=0"]
        await self._processes.start("exchange", [sys.executable, *words])
        await self._processes.wait_until("the exchange", lambda: answers(self.port), WITHIN_S)
        grant = stubs.GrantCreditsRequest(grant_id="g", account="alice", amount="10")
        await ask(self.server("house"), "AdminService/GrantCredits", grant, stubs.GrantCreditsResponse)
        agent = {
            "--exchange": f"127.0.0.1:{self.port}", "--provider-id": "p1", "--ask-price": "0.001", "--model": MODEL,
            "--upstream": self.upstream.url, "--api-key-file": str(self.folder / "p1"),
            "--state-dir": str(self.folder / "agent"),
        }  # fmt: skip
        command = [sys.executable, "-m", "provider_agent", *(word for option in agent.items() for word in option)]
        await self._processes.start("p1", command)
        await until_answer(self._on_sale)

    async def _on_sale(self) -> bool:
        book = await ask(
            self.server("alice"), "MarketService/GetOrderBook", stubs.GetOrderBookRequest(), stubs.OrderBook
        )
        return any(one.live_asks for one in book.models)

    async def generate(self, *words: str) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "gollem", "generate", "hi", "--model", MODEL, *words]
        command += ["--server", f"127.0.0.1:{self.port}", "--key-file", str(self.folder / "alice")]
        pipe = asyncio.subprocess.PIPE
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GOLLEM_")}
        return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)

    async def held(self) -> str:
        balance = await ask(
            self.server("alice"), "CreditService/Balance", stubs.BalanceRequest(), stubs.BalanceResponse
        )
        return balance.held


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with fake_upstream() as upstream, Processes(tmp_path) as processes:
        shop = Shop(tmp_path, processes, upstream)
        await shop.open()
        yield shop


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("words", [[], ["--relay"]], ids=["straight", "relayed"])
async def test_the_answer_on_stdout_and_what_it_cost_on_stderr(shop: Shop, words: list[str]) -> None:
    status, out, err = await ended(await shop.generate(*words))
    assert (status, out) == (0, "Hello!\n"), err
    assert "p1 · first token after" in err
    assert "7 + 3 tokens" in err
    status, out, err = await ended(await shop.generate(*words, "--json"))
    assert status == 0, err
    said = json.loads(out)
    assert (said["text"], said["provider_id"], said["finish_reason"]) == ("Hello!", "p1", "stop")
    assert said["receipt"]["usage"] == {"prompt_tokens": 7, "completion_tokens": 3}


@pytest.mark.parametrize("words", [[], ["--relay"]], ids=["straight", "relayed"])
async def test_ctrl_c_in_an_answer_tells_what_was_charged(shop: Shop, words: list[str]) -> None:
    shop.upstream.script = ["Hel", "lo", HANG]
    process = await shop.generate(*words)
    assert process.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        assert await process.stdout.readexactly(5) == b"Hello"
    process.send_signal(signal.SIGINT)
    status, rest, err = await ended(process)
    assert (status, rest) == (130, "\n")
    assert err.startswith("gollem: stopped; the order is cancelled, 0.00"), err
    assert "credits ($0.00" in err
    assert len(err.splitlines()) == 1
    assert await shop.held() == "0.00000000"


async def test_ctrl_c_before_an_answer_costs_nothing(shop: Shop) -> None:
    shop.upstream.hold = asyncio.Event()
    process = await shop.generate()
    await until(shop.upstream.asked.is_set)
    process.send_signal(signal.SIGINT)
    status, out, err = await ended(process)
    assert (status, out) == (130, "")
    assert err == "gollem: stopped; the order is cancelled, nothing is charged\n"
    assert await shop.held() == "0.00000000"


async def test_providers_that_fail_are_named_with_why(shop: Shop) -> None:
    """p2 is cheaper, and nobody listens there."""
    shop.upstream.status = 500
    request = stubs.RegisterRequest(
        provider_id="p2", model=MODEL, gpu_type="cpu", price="0.00010000", latency_ms=100, throughput_tps=90.0,
        capacity_tokens=100_000, capacity_slots=8, endpoint=f"127.0.0.1:{free_port()}",
    )  # fmt: skip
    await ask(shop.server("p2"), "ProviderService/Register", request, stubs.RegisterResponse)
    status, out, err = await ended(await shop.generate())
    assert (status, out) == (1, "")
    assert "p2 (PROVIDER_UNREACHABLE)" in err
    assert "p1 (UPSTREAM_FAILED)" in err
    assert "Nothing is charged" in err
