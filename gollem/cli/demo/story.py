"""Tells the story: the front, a streamed answer, who won and why, and where every credit went."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from gollem import units
from gollem.cli import output
from gollem.cli.audit import Books, ask_books
from gollem.cli.bids import excluded, offer_table
from gollem.cli.book import front
from gollem.cli.connection import connect
from gollem.cli.demo import farewell, money
from gollem.cli.demo import nodes as the_nodes
from gollem.cli.demo.model_server import MODEL
from gollem.cli.demo.processes import Processes
from gollem.cli.demo.stage import CONSUMER, OPERATOR, PROVIDERS, Stage, open_dashboard, set_up
from gollem.cli.failure import Failure
from gollem_client import GollemClient, estimate_prompt_tokens, stubs
from gollem_client.generation import Generation

BOUGHT_USD = "1.00"
LIMITS: dict[str, Any] = {"max_tokens": 96, "max_price": "0.00200000", "max_latency_ms": 5_000}


@dataclass(frozen=True)
class Outcome:
    """The figures for programs, and whether everything that must hold did."""

    figures: dict[str, Any]
    held_true: bool


@dataclass(frozen=True)
class Standing:
    """Balances in atoms: the consumer's, and what each provider has earned."""

    available_atoms: int
    held_atoms: int
    earned_atoms: dict[str, int]


async def tell(folder: Path, prompt: str, keep: bool, ledger: str = "", nodes: int = 1) -> Outcome:
    """All of it, in `folder`. Raises Failure; whatever was started is ended unless `keep`."""
    screen = output.stderr()
    try:
        async with Processes(folder) as processes:
            stage, outcome = await _play(processes, folder, screen, prompt, ledger, nodes)
            if keep:
                stage = await open_dashboard(processes, stage)
                processes.keep()
                farewell.say(stage, outcome.figures["provider_id"], processes.pids(), screen)
    except asyncio.CancelledError:
        farewell.clear(folder)
        screen.print("\nstopped: everything has been ended, and nothing is left", style="bold")
        raise
    if not keep:
        farewell.clear(folder)
    return outcome


async def _play(
    processes: Processes, folder: Path, screen: Console, prompt: str, ledger: str, nodes: int
) -> tuple[Stage, Outcome]:
    exchange = "an exchange" if nodes == 1 else f"an exchange of {nodes} nodes, Redis, DynamoDB Local"
    try:
        with screen.status(f"starting {exchange}, a model and three providers"):
            stage = await set_up(processes, folder, ledger, nodes)
        return stage, await _acts(processes, stage, screen, prompt)
    except Failure as failure:
        processes.check()  # a child that has died says more
        raise Failure(failure.message, f"The logs are in {folder}.") from failure


async def _acts(processes: Processes, stage: Stage, screen: Console, prompt: str) -> Outcome:
    purchase = await money.buy(stage.server(CONSUMER), BOUGHT_USD)
    async with connect(stage.server(CONSUMER)) as client:
        before = await _standing(stage)
        quote = await _show_market(client, screen, prompt)
        assassin = the_nodes.Assassin(processes, stage, client, screen)
        answer = await _stream(client, screen, prompt, assassin)
        if assassin.killed:
            await the_nodes.until_settled(client, answer)
        _show_winner(screen, answer, quote)
        after = await _standing(stage)
    payout = await money.pay_out(stage.server(_provider(answer)))
    books = await ask_books(stage.server(OPERATOR))
    _show_money(screen, answer, before, after)
    money.show(screen, purchase, payout)
    _show_books(screen, books)
    outcome = _outcome(answer, quote, before, after, payout, books)
    if len(stage.ports) > 1:
        await the_nodes.show(stage, screen, assassin.killed)
        outcome = _with_nodes(outcome, len(stage.ports), assassin.killed)
    return outcome


async def _standing(stage: Stage) -> Standing:
    async with connect(stage.server(OPERATOR)) as client:
        mine = await client.balance(CONSUMER)
        earned = {one.provider_id: (await client.balance(one.provider_id)).earned for one in PROVIDERS}
    atoms = {name: output.atoms(amount) for name, amount in earned.items()}
    return Standing(output.atoms(mine.available), output.atoms(mine.held), atoms)


async def _show_market(client: GollemClient, screen: Console, prompt: str) -> stubs.QuoteResponse:
    """The book's front, then what the bid's limits leave of it."""
    book = await client.order_book(MODEL)
    screen.print(front(book.models[0], screen.width))
    quote = await client.quote(MODEL, estimate_prompt_tokens(_messages(prompt)), **LIMITS)
    screen.print(
        f"\n{CONSUMER} bids: at most ${LIMITS['max_price']} a standard credit of work and "
        f"{LIMITS['max_latency_ms']:,} ms to the first token, {LIMITS['max_tokens']} tokens; policy balanced",
        style="bold",
    )
    screen.print(offer_table(quote.front, (quote.winner_provider_id, quote.winner_ask_id)))
    if quote.excluded_by:
        screen.print(f"excluded by {excluded(quote.excluded_by)}", style="dim")
    return quote


async def _stream(client: GollemClient, screen: Console, prompt: str, assassin: the_nodes.Assassin) -> Generation:
    """The answer, token by token."""
    screen.print(f"\n{prompt}", style="bold")
    answer = client.generate(MODEL, _messages(prompt), **LIMITS)
    async for chunk in answer:
        screen.print(Text(chunk.text), end="", soft_wrap=True)
        await assassin.saw_chunk()
    screen.print()
    return answer


def _messages(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def _show_winner(screen: Console, answer: Generation, quote: stubs.QuoteResponse) -> None:
    """Who won, and what the rest of the front would have meant."""
    match, seen = answer.match, answer.measured
    assert match is not None
    won, first = match.offer, f", first token after {output.number(seen.ttft_ms)} ms" if seen else ""
    screen.print(f"\n{won.provider_id} served it{first}", style="bold")
    screen.print("it has the least cost + latency + time per token, each relative to what the bid allows or is usual")
    for other in quote.front:
        if other.provider_id == won.provider_id:
            continue
        ratios = (
            f"{output.atoms(other.max_cost) / output.atoms(won.max_cost):.2f} x the cost",
            f"{other.latency_ms / won.latency_ms:.2f} x the latency",
            f"{other.throughput_tps / won.throughput_tps:.2f} x the throughput",
        )
        screen.print(f"  {other.provider_id} would have been {', '.join(ratios)}", style="dim")


def _show_money(screen: Console, answer: Generation, before: Standing, after: Standing) -> None:
    receipt = answer.receipt
    if receipt is None:
        screen.print("the provider has not settled", style="bold red")
        return
    earned = after.earned_atoms[_provider(answer)] - before.earned_atoms[_provider(answer)]
    shown = output.table("", "credits", "USD", right=("credits", "USD"))
    for name, value in (
        (f"{CONSUMER} before", before.available_atoms),
        ("held, the worst case", output.atoms(receipt.held)),
        (
            f"charged, {receipt.usage.prompt_tokens} + {receipt.usage.completion_tokens} tokens",
            output.atoms(receipt.charged),
        ),
        ("refunded", output.atoms(receipt.refunded)),
        (f"{CONSUMER} after", after.available_atoms),
        (f"{_provider(answer)} earned", earned),
        ("the platform's fee", output.atoms(receipt.fee)),
    ):
        shown.add_row(name, units.format_fixed(value), units.format_usd(value))
    screen.print("", shown, "")


def _show_books(screen: Console, books: Books) -> None:
    verdict = "the books balance" if not books.findings else "\n".join(books.findings)
    screen.print(f"\naudit of {books.transactions} transactions: {verdict}", style="bold")


def _outcome(
    answer: Generation,
    quote: stubs.QuoteResponse,
    before: Standing,
    after: Standing,
    payout: stubs.Payout | None,
    books: Books,
) -> Outcome:
    """Every figure, and whether the money went where it had to."""
    match, seen, receipt = answer.match, answer.measured, answer.receipt or stubs.Receipt(usage=stubs.Usage())
    assert match is not None
    paid_usd = payout.amount_usd if payout else "0.00"
    figures = {
        "text": answer.text,
        "provider_id": match.offer.provider_id,
        "front_size": quote.front_size,
        "prompt_tokens": receipt.usage.prompt_tokens,
        "completion_tokens": receipt.usage.completion_tokens,
        "ttft_ms": round(seen.ttft_ms, 1) if seen else None,
        "held": receipt.held,
        "charged": receipt.charged,
        "refunded": receipt.refunded,
        "provider_share": receipt.provider_share,
        "fee": receipt.fee,
        "audit_ok": not books.findings,
        "bought_usd": BOUGHT_USD,
        "paid_out_usd": paid_usd,
    }
    held, charged, refunded = (output.atoms(amount) for amount in (receipt.held, receipt.charged, receipt.refunded))
    share, fee = output.atoms(receipt.provider_share), output.atoms(receipt.fee)
    provider = match.offer.provider_id
    paid_atoms = units.parse_cents(paid_usd, "paid_out_usd") * units.ATOMS_PER_CENT
    held_true = (
        bool(answer.text.strip() and charged)
        and held == charged + refunded
        and charged == share + fee
        and after.available_atoms == before.available_atoms - charged
        and after.held_atoms == 0
        and after.earned_atoms[provider] - before.earned_atoms[provider] == share
        and paid_atoms == share - share % units.ATOMS_PER_CENT
        and not books.findings
    )
    return Outcome(figures, held_true)


def _with_nodes(outcome: Outcome, nodes: int, killed: str) -> Outcome:
    """Of several nodes one has to have been killed."""
    return Outcome(outcome.figures | {"nodes": nodes, "killed": killed}, outcome.held_true and bool(killed))


def _provider(answer: Generation) -> str:
    assert answer.match is not None
    return answer.match.offer.provider_id
