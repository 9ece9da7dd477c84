"""The drill of docs/recover.md: an exchange takes orders and is backed up under way, then killed and its data lost;
the copies are put back, the books are proven, and it serves again. What is done is said; what is not as it should be
ends it with status 1.

    deploy/drill.py [--orders 200] [FOLDER]         `make drill`; an empty FOLDER is kept, without one nothing is left
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from gollem_client import ChannelPool, Exchange, GollemError, Timeouts, stubs

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
# Another program in the place of the server, for whoever looks at what it does.
GOLLEM = os.environ.get("DRILL_GOLLEM", str(BIN / "gollem"))
CALLERS = 4
GRANTED = Decimal(1_000_000)
MODEL = "gpt-3"


class NotAsItShouldBe(Exception):
    """The text says what."""


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)  # noqa: T201


def require(condition: object, text: str) -> None:
    if not condition:
        raise NotAsItShouldBe(text)


def run(*words: str | Path) -> str:
    """A command, with the `gollem` of this environment. Raises NotAsItShouldBe with what it says."""
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run([str(word) for word in words], env=environment, capture_output=True, text=True)  # noqa: S603
    require(done.returncode == 0, f"{words[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Drill:
    """One exchange after the other on one data folder, and what was acknowledged by them."""

    def __init__(self, folder: Path) -> None:
        self.data, self.copies = folder / "data", folder / "copies"
        self.keys: dict[str, str] = {}
        self.held: dict[str, Decimal] = {}  # order -> what its match took
        self._pool = ChannelPool()
        self._address = ""

    def make_keys(self) -> None:
        for account, role in (("ops", "operator"), ("alice", "consumer"), ("seller", "provider")):
            made = run("gollem", "keys", "create", "--data", self.data, "--account", account, "--role", role, "--json")
            self.keys[account] = json.loads(made)["key"]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """An exchange; at the end it is killed, as by a power failure."""
        words = ["serve", "--data", str(self.data), "--port", "0", "--set", "server.metrics_port=0"]
        process = await asyncio.create_subprocess_exec(GOLLEM, *words, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        said = b""
        try:
            while not (line := await process.stderr.readline()).startswith(b"listening on "):
                said += line
                require(line, f"the exchange does not start: {said.decode()}")
            self._address = f"127.0.0.1:{int(line.rpartition(b':')[2])}"
            reading = asyncio.create_task(process.stderr.read())
            yield
        finally:
            process.kill()
            await process.wait()
        await reading

    def _as(self, account: str) -> Exchange:
        return Exchange(self._address, self.keys[account], self._pool, Timeouts())

    async def grant(self) -> None:
        request = stubs.GrantCreditsRequest(grant_id="drill", account="alice", amount=str(GRANTED))
        await self._as("ops").call("AdminService/GrantCredits", request, stubs.GrantCreditsResponse)

    async def offer(self) -> bytes:
        """Put an ask into the book; the key that grants are signed with."""
        request = stubs.RegisterRequest(
            provider_id="seller", ask_id="a", model=MODEL, gpu_type="cpu", price="0.001", latency_ms=10,
            throughput_tps=100, capacity_tokens=10**9, capacity_slots=60_000, endpoint="127.0.0.1:9",
        )  # fmt: skip
        answer = await self._as("seller").call("ProviderService/Register", request, stubs.RegisterResponse)
        return answer.grant_public_key

    async def match(self, order: str) -> stubs.MatchResponse:
        bid = stubs.Bid(model=MODEL, prompt_tokens=10, max_tokens=10)
        request = stubs.MatchRequest(order_id=order, bid=bid)
        return await self._as("alice").call("MarketService/Match", request, stubs.MatchResponse)

    async def trade(self, name: str, orders: int) -> None:
        """Match, and settle every other order."""
        for number in range(orders):
            order = f"{name}-{number}"
            self.held[order] = Decimal((await self.match(order)).held)
            if number % 2:
                usage = stubs.Usage(prompt_tokens=10, completion_tokens=number % 10)
                request = stubs.SettleRequest(
                    provider_id="seller", order_id=order, usage=usage, outcome=stubs.SettleRequestOutcome.COMPLETED
                )
                await self._as("seller").call("ProviderService/Settle", request, stubs.SettleResponse)

    async def trade_under_way(self) -> None:
        """Until the exchange is gone; the ask is told of now and then, as an agent's reports would do."""
        for turn in range(1_000_000):
            await self.offer()
            await asyncio.gather(*(self.trade(f"later-{turn}-{caller}", 10) for caller in range(CALLERS)))

    async def available(self) -> Decimal:
        request = stubs.BalanceRequest()
        answer = await self._as("alice").call("CreditService/Balance", request, stubs.BalanceResponse)
        return Decimal(answer.available)


async def drill(folder: Path, orders: int) -> None:
    it = Drill(folder)
    it.make_keys()
    async with it.serving():
        await it.grant()
        signing_key = await it.offer()
        await asyncio.gather(*(it.trade(f"first-{caller}", orders // CALLERS) for caller in range(CALLERS)))
        before = dict(it.held)
        tell(f"{len(before)} orders acknowledged, every other one settled")
        trading = asyncio.create_task(it.trade_under_way())
        started = time.monotonic()
        await asyncio.to_thread(run, HERE / "backup.sh", it.data, it.copies)
        took_ms = 1_000 * (time.monotonic() - started)
        tell(f"backed up in {took_ms:.0f} ms, while {len(it.held) - len(before)} more orders were acknowledged")
    trading.cancel()
    await asyncio.gather(trading, return_exceptions=True)
    shutil.rmtree(it.data)
    tell("the exchange was killed, and its data destroyed")

    run(HERE / "restore.sh", it.copies, it.data)
    tell(run("gollem", "ledger", "audit", "--data", it.data).strip())
    async with it.serving():
        require(await it.offer() == signing_key, "grants are signed with another key")
        kept = await asyncio.gather(*(it.match(order) for order in before))
        require(all(answer.replayed for answer in kept), "an order acknowledged before the backup is not in it")
        require(
            [Decimal(answer.held) for answer in kept] == list(before.values()), "an order is not what was acknowledged"
        )
        tell(f"all {len(kept)} orders acknowledged before the backup are there, as they were")
        was = await it.available()
        new = await it.match("after-the-restore")
        require(not new.replayed and await it.available() == was - Decimal(new.held), "a new order is not held")
        tell(f"it serves again: a new order holds {new.held} credits of {was}")
    tell(run("gollem", "ledger", "audit", "--data", it.data).strip())


def main() -> int:
    parser = argparse.ArgumentParser(description="Back up, destroy, restore, and serve again.")
    parser.add_argument("folder", nargs="?", type=Path, help="an empty folder, kept  [default: one that is removed]")
    parser.add_argument("--orders", type=int, default=200, help="orders before the backup  [default: 200]")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gollem-drill-") as scratch:
        folder = (chosen.folder or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            require(not any(folder.iterdir()), f"{folder} is not empty")
            asyncio.run(drill(folder, chosen.orders))
        except (NotAsItShouldBe, GollemError) as error:
            tell(f"FAILED: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
