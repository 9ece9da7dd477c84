"""`gollem generate`: buys an answer, streams it to stdout, and shows what it cost."""

import asyncio
import json
import sys
from typing import Any

import click

from gollem.cli import output
from gollem.cli.bids import limit_options
from gollem.cli.connection import Server, connect, run, server_options
from gollem.cli.failure import Failure
from gollem_client import GollemClient, GollemError
from gollem_client.stubs import CancelResponseState, Receipt

_PAUSES_S = (0.05, 0.1, 0.2, 0.4)  # between looks at an order that is being cancelled
_PENDING = CancelResponseState.from_string("PENDING")


@click.command()
@click.argument("prompt")
@limit_options
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True, help="to generate at most")
@click.option("--system", default="", help="instructions that come before the prompt")
@click.option("--temperature", type=click.FloatRange(0, 2))
@click.option("--seed", type=int)
@click.option("--order-id", help="made by you  [default: a new one]")
@click.option("--relay", is_flag=True, help="stream through the exchange: where the provider cannot be reached")
@output.json_option
@server_options
def generate(
    server: Server, prompt: str, system: str, relay: bool, as_json: bool, limits: dict[str, Any], **options: Any
) -> None:
    """Buy an answer to PROMPT ("-" reads it from stdin) and stream it."""
    prompt = sys.stdin.read() if prompt == "-" else prompt
    if not prompt.strip():
        raise Failure("the prompt is empty", 'Say something, or "-" to read it from stdin.')
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    run(_stream(server, relay, as_json, messages=messages, **limits, **options))


async def _stream(server: Server, relay: bool, as_json: bool, **request: Any) -> None:
    async with connect(server) as client:
        stream = (GollemClient.generate_via_exchange if relay else GollemClient.generate)(client, **request)
        try:
            async for chunk in stream:
                if not as_json:
                    click.echo(chunk.text, nl=False)
        except asyncio.CancelledError:
            click.echo("", nl=bool(stream.text) and not as_json)
            click.echo(f"gollem: stopped; {await _end_of(client, stream)}", err=True)
            raise
    if as_json:
        click.echo(json.dumps(_summary(stream), ensure_ascii=False))
    else:
        click.echo()
        show_receipt(stream)


async def _end_of(client: GollemClient, stream: Any) -> str:
    """What became of an order whose answer was left: to cancel it once more tells."""
    if stream.match is None:
        return "the bid is withdrawn, and nothing is charged"
    try:
        for pause_s in _PAUSES_S:
            answer = await client.cancel(stream.match.order_id)
            if answer.state != _PENDING:
                break
            await asyncio.sleep(pause_s)
        else:
            return "what was delivered will be charged: see `gollem transactions`"
    except GollemError as error:
        return f"whether it was charged is not known ({error.message}): see `gollem transactions`"
    charged_atoms = output.atoms(stream.match.held) - output.atoms(answer.refunded)
    charged = f"{output.money_atoms(charged_atoms)} charged" if charged_atoms else "nothing is charged"
    return f"the order is cancelled, {charged}"


def show_receipt(stream: Any) -> None:
    """On stderr: who served it, how fast, and the money."""
    screen, receipt, seen = output.stderr(), stream.receipt, stream.measured
    speed = f", {output.number(seen.throughput_tps)} tokens/s" if seen and seen.throughput_tps else ""
    first = f" · first token after {output.number(seen.ttft_ms)} ms{speed}" if seen else ""
    screen.print(f"\n{stream.match.offer.provider_id}{first}", style="dim")
    if receipt is None:
        screen.print(f"held {output.money(stream.match.held)}; not settled yet: see `gollem transactions`", style="dim")
        return
    screen.print(receipt_lines(receipt), style="dim")


def receipt_lines(receipt: Receipt) -> str:
    """What an order cost, a line each; and what that is in USD per million tokens."""
    usage = receipt.usage
    tokens = usage.prompt_tokens + usage.completion_tokens
    per_mtok = output.usd_per_mtok(output.atoms(receipt.charged), tokens)
    return "\n".join(
        (
            f"held      {output.money(receipt.held)}",
            f"charged   {output.money(receipt.charged)}: {usage.prompt_tokens} + {usage.completion_tokens} tokens"
            f" at ${per_mtok} a million",
            f"refunded  {output.money(receipt.refunded)}",
            f"fee       {output.money(receipt.fee)}, within the charge",
        )
    )


def _summary(stream: Any) -> dict[str, Any]:
    """The whole of it for programs. `receipt` is null until the provider has settled."""
    receipt = stream.receipt
    return {
        "text": stream.text,
        "finish_reason": stream.finish_reason,
        "order_id": stream.match.order_id,
        "provider_id": stream.match.offer.provider_id,
        "ttft_ms": stream.measured.ttft_ms if stream.measured else None,
        "throughput_tps": stream.measured.throughput_tps if stream.measured else None,
        "receipt": output.tree(receipt) if receipt else None,
    }
