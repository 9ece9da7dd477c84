"""`python -m provider_agent`: reads the options, runs the agent, stops it on SIGTERM and SIGINT."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import uvloop

from gollem_client import GollemError
from provider_agent.agent import Agent
from provider_agent.journal import JournalInUse
from provider_agent.options import BadOption, Options

_HELP = """Sell a model server on a GoLLeM exchange.

Beside any server that speaks OpenAI's chat completions (llama.cpp, vLLM, Ollama, SGLang), this agent registers an ask,
reports to the exchange each second, and serves the consumers whom the exchange sends with a signed grant. What it
delivers is metered and settled, over outages of the exchange and restarts of the agent.

The API key of role provider, whose account is the provider id, comes from GOLLEM_API_KEY or --api-key-file. If the
model server wants a key, that comes from GOLLEM_UPSTREAM_API_KEY.

\b
Example:
  gollem keys create --account xyz --role provider
  GOLLEM_API_KEY=... python -m provider_agent --provider-id xyz --ask-price 0.001 \\
      --model smollm2-135m --upstream http://127.0.0.1:8000/v1 --max-latency 2000 --throughput 20
"""


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_SPEED = click.FloatRange(0, 1_000_000, min_open=True)
_FOLDER = "gollem-agent/<provider>/<ask>"
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_EXCHANGE = "host:port, or https://host[:port] for TLS; of several, with commas between, one that answers."
_STATE = "Keeps used grants and unsettled earnings; one agent a folder."


def _text(name: str, absent: str, meaning: str) -> Decorator:
    """An option of text that may be left out; `absent` says what that means."""
    return click.option(name, default="", show_default=absent, help=meaning)


def _number(name: str, field: str, default: int | None, most: int, meaning: str, absent: str = "") -> Decorator:
    """A whole number of 1 or more."""
    kind = click.IntRange(1, most)
    return click.option(name, field, type=kind, default=default, show_default=absent or True, help=meaning)


@click.command(help=_HELP, context_settings={"show_default": True, "max_content_width": 110})
@click.option("--provider-id", required=True, help="Your account at the exchange.")
@click.option("--ask-price", "price", required=True, help="USD per standard credit of work, such as 0.001.")
@_text("--completion-price", "as --ask-price", "The same for completion tokens.")
@_text("--credit-rate", "none", "The least you accept, in credits per token.")
@click.option("--model", required=True, help="The model's name in the exchange's catalogue, or an alias.")
@click.option("--gpu-type", default="cpu", help="In the exchange's catalogue, such as h100; cpu where there is none.")
@_text("--ask-id", "model:gpu-type", "Names this ask among yours.")
@_number("--max-latency", "latency_ms", 2_000, 3_600_000, "Milliseconds to the first token (p95) that you promise.")
@click.option("--throughput", "throughput_tps", type=_SPEED, default=20.0, help="Tokens per second that you promise.")
@_number("--slots", "slots", 4, 65_536, "Generations at once.")
@_number("--capacity-tokens", "capacity_tokens", None, 10**12, "Tokens of all running orders.", "4096 a slot")
@_number("--max-requests-per-minute", "max_requests_per_minute", None, 10_000_000, "Orders accepted a minute.", "any")
@click.option("--exchange", default="127.0.0.1:50051", help=_EXCHANGE)
@click.option("--upstream", default="http://127.0.0.1:8000/v1", help="Base URL of the model server.")
@_text("--upstream-model", "as --model", "The model's name there.")
@_text("--listen", "any address and --endpoint's port", "Where to serve consumers; port 0 takes a free one.")
@_text("--endpoint", "127.0.0.1 and a free port", "How consumers reach that: host:port, or https://host[:port].")
@click.option("--tls-cert", type=_FILE, help="PEM chain; with --tls-key: serve TLS.")
@click.option("--tls-key", type=_FILE, help="PEM private key.")
@click.option("--api-key-file", type=_FILE, help="File with the API key.")
@click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), show_default=_FOLDER, help=_STATE)
@_number("--drain-ms", "drain_ms", 30_000, 3_600_000, "How long generations may go on after SIGTERM.")
@click.option("--verbose", is_flag=True, help="Log everything.")
def main(api_key_file: Path | None, verbose: bool, **values: Any) -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("provider_agent").setLevel(logging.DEBUG if verbose else logging.INFO)
    try:
        options = Options(
            api_key=_api_key(api_key_file), upstream_api_key=os.environ.get("GOLLEM_UPSTREAM_API_KEY", ""), **values
        )
        uvloop.run(_run(options))
    except BadOption as error:
        raise click.UsageError(str(error)) from None
    except GollemError as error:
        raise click.ClickException(f"{error.message} ({error.reason})") from None
    except (JournalInUse, OSError) as error:
        raise click.ClickException(str(error)) from None


async def _run(options: Options) -> None:
    agent = Agent(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    await agent.run()


def _api_key(file: Path | None) -> str:
    """Never from the command line, which every user of the machine can read. Raises BadOption, OSError."""
    key = file.read_text().strip() if file else os.environ.get("GOLLEM_API_KEY", "")
    if not key:
        raise BadOption("no API key: set GOLLEM_API_KEY or give --api-key-file")
    return key


if __name__ == "__main__":
    sys.exit(main(prog_name="provider_agent"))
