"""The replay as a whole: an exchange, sellers, orders in their own rhythm, then the balances and the audit."""

import asyncio
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grpclib.client import Channel

from benchmarks.replay import venue
from benchmarks.replay.inputs import ListedPrice, Request
from benchmarks.replay.listings import Listing, listings
from benchmarks.replay.orders import Order, orders
from benchmarks.replay.pacing import Pace
from benchmarks.replay.pricing import models
from benchmarks.replay.sellers import Sellers
from benchmarks.replay.tally import Tally
from benchmarks.replay.trading import MAX_CALLS, Trading
from gollem import units
from gollem.cli import output
from gollem.cli.demo.processes import Processes
from gollem.cli.failure import Failure
from gollem.cli.keys import new_key
from gollem.identity import Role

CONSUMERS = 16
POOR = 4  # of them: they run out of credit on the way
RICH_CREDITS = "1000000"
# Few providers fail often and trip their circuit breaker; the others hardly ever do.
UNRELIABLE = 5
FAILING_SHARE, UNRELIABLE_SHARE = 0.002, 0.3
CLOSING_TIMEOUT_S = venue.MAX_ORDER_MS / 1_000 + 20


@dataclass(frozen=True)
class Plan:
    """What is replayed, compressed into how many seconds, with which seed."""

    requests: Sequence[Request]
    asks: Sequence[ListedPrice]
    seconds: float
    seed: int
    ledger: str = ""  # its URL, if it is not in the replay's folder

    @property
    def compression(self) -> float:
        """By how much time runs faster than it did."""
        return max(1.0, self.requests[-1].at_s / self.seconds)


async def replay(plan: Plan) -> Tally:
    """Run it all and show the figures. Raises BadInput, Failure."""
    catalogue = models(plan.asks)
    asks = listings(plan.asks, catalogue, plan.seed)
    bids = orders(plan.requests, asks, CONSUMERS, plan.seed)
    tally = Tally(requests=len(plan.requests), at_once=MAX_CALLS)
    with tempfile.TemporaryDirectory(prefix="gollem-replay-") as name:
        folder = Path(name)
        operator_key = (await new_key(folder / "data", "replay", Role.OPERATOR)).secret
        async with Processes(folder) as processes:
            port = await venue.start(processes, folder, catalogue, asks, plan.ledger)
            channels = [Channel("127.0.0.1", port) for _ in range(3)]
            try:
                operator = venue.Venue(channels[0], operator_key)
                await _trade(plan, asks, bids, operator, channels, tally)
            except Exception as error:
                processes.check()  # an exchange that has died says why
                raise Failure(f"the replay broke off: {error!r}", "Run it again; if it persists, tell us.") from error
            finally:
                for channel in channels:
                    channel.close()
    _show(plan, tally)
    return tally


async def _trade(
    plan: Plan,
    asks: Sequence[Listing],
    bids: Sequence[Order],
    operator: venue.Venue,
    channels: list[Channel],
    tally: Tally,
) -> None:
    """Accounts, asks, orders; then wait until nothing is held, and audit."""
    providers = sorted({ask.provider_id for ask in asks})
    consumers = [f"consumer-{number}" for number in range(CONSUMERS)]
    granted = _grants(consumers, len(bids))
    for account, amount in granted.items():
        await operator.grant(account, amount)
    sellers = Sellers(channels[1], await operator.keys(providers, "provider"), asks)
    buyers = list((await operator.keys(consumers, "consumer")).values())
    await sellers.register()
    trading = Trading(channels[2], buyers, sellers, _failing(providers, plan.seed), plan.compression, tally)
    async with sellers.reporting():
        await Pace(trading, plan.compression, tally).run(bids)
        await _close(operator, granted, tally)
    report = await operator.audit()
    tally.audit_ok, tally.findings = report.ok, list(report.findings)


async def _close(operator: venue.Venue, granted: dict[str, str], tally: Tally) -> None:
    """Wait until no hold is open, by settlement or expiry; then see from the balances what came back."""
    deadline_s = asyncio.get_running_loop().time() + CLOSING_TIMEOUT_S
    while True:
        balances = [await operator.balance(account) for account in granted]
        tally.open_atoms = sum(units.parse_fixed(balance.held, "held") for balance in balances)
        if not tally.open_atoms or asyncio.get_running_loop().time() > deadline_s:
            break
        await asyncio.sleep(0.2)
    left = sum(units.parse_fixed(balance.available, "available") for balance in balances)
    spent = sum(units.parse_fixed(amount, "granted") for amount in granted.values()) - left
    tally.refunded_atoms = tally.held_atoms - spent - tally.open_atoms


def _grants(consumers: Sequence[str], orders_count: int) -> dict[str, str]:
    """The poor get about a third of what their part of the orders costs."""
    poor = units.format_fixed(max(units.ATOMS_PER_CREDIT, orders_count * units.ATOMS_PER_CREDIT // (2 * CONSUMERS)))
    return {name: poor if number < POOR else RICH_CREDITS for number, name in enumerate(consumers)}


def _failing(providers: Sequence[str], seed: int) -> dict[str, float]:
    """Which share of its orders each provider fails."""
    unreliable = random.Random(f"failing:{seed}").sample(providers, min(UNRELIABLE, len(providers) // 2))
    return {name: UNRELIABLE_SHARE if name in unreliable else FAILING_SHARE for name in providers}


def _show(plan: Plan, tally: Tally) -> None:
    screen = output.stderr()
    span = f"{plan.requests[-1].at_s:,.0f} s of requests, {plan.compression:.0f} times faster"
    screen.print(f"\n{len(plan.requests):,} requests, {len(plan.asks):,} asks; {span}\n", style="bold")
    for table in tally.tables():
        screen.print(table, "")
    screen.print("audit: the books balance" if tally.audit_ok else "audit: the books do not balance", style="bold")
    for finding in tally.findings:
        screen.print(f"  {finding}")
    if not tally.adds_up:
        screen.print("something does not add up: orders, or credits, or a call broke", style="bold red")
