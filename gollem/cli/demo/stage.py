"""Sets the stage: keys, an exchange, a model server and three provider agents, each a process of its own."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gollem.cli.connection import Server, connect
from gollem.cli.demo.model_server import MODEL
from gollem.cli.demo.processes import Processes, answers, free_port, is_healthy
from gollem.cli.failure import Failure
from gollem.cli.keys import new_key, write_secret
from gollem.identity import Role
from gollem_client import GollemError

START_TIMEOUT_S = 30.0
MODEL_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Cast:
    """A provider: its ask in USD per standard credit of work, and what it promises."""

    provider_id: str
    ask_price: str
    latency_ms: int
    throughput_tps: int


PROVIDERS = (
    Cast("thrifty", "0.00040000", 2_500, 15),
    Cast("steady", "0.00100000", 900, 30),
    Cast("swift", "0.00300000", 400, 60),
)
# Nobody waits a week for a demo: earnings are due at once, a cent is paid out, and all of it is looked at often.
SETTINGS = (
    f"market.catalogue={Path(__file__).with_name('catalogue.toml')}",
    "bridge.dashboard=on",
    "payments.delay_days=0",
    "payments.least_payout_cents=1",
    "payments.payout_interval_ms=200",
    "payments.inbox_interval_ms=100",
)
CONSUMER = "alice"
OPERATOR = "house"


@dataclass(frozen=True)
class Stage:
    """Where everything is. Keys lie in files of their own, which only their owner can read."""

    folder: Path
    port: int
    ledger: str = ""  # its URL, if it is not in the data folder
    bridge_port: int = 0
    gateway_port: int = 0  # 0: Envoy is not installed, or nobody is to see the dashboard

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def dashboard(self) -> str:
        """Where a browser finds it; empty without a gateway."""
        return f"http://127.0.0.1:{self.gateway_port}" if self.gateway_port else ""

    @property
    def data(self) -> Path:
        """The exchange's data folder."""
        return self.folder / "data"

    def key_file(self, account: str) -> Path:
        return self.folder / f"{account}.key"

    def server(self, account: str) -> Server:
        """The exchange, with this account's key."""
        return Server(self.address, self.key_file(account).read_text().strip())


async def set_up(processes: Processes, folder: Path, ledger: str = "", with_gateway: bool = False) -> Stage:
    """Start everything and wait until all three asks are in the book. A gateway too, if one is wanted and Envoy is
    installed. Raises Failure."""
    gateway_port = free_port() if with_gateway and find_spec("envoy") else 0
    stage = Stage(folder, free_port(), ledger, free_port(), gateway_port)
    await _make_keys(stage)
    upstream_port = free_port()
    await processes.start("model", _python("gollem.cli.demo.model_server", str(upstream_port)))
    serve = _python("gollem", "serve", "--data", str(stage.data), "--port", str(stage.port))
    serve += ["--ledger", ledger] if ledger else []
    settings = (*SETTINGS, f"bridge.port={stage.bridge_port}")
    serve += ["--payments", "local", *(word for setting in settings for word in ("--set", setting))]
    await processes.start("exchange", serve)
    await processes.wait_until("the exchange", lambda: answers(stage.port), START_TIMEOUT_S)
    if stage.gateway_port:
        await processes.start("gateway", _gateway(stage))
        await processes.wait_until("the gateway", lambda: answers(stage.gateway_port), START_TIMEOUT_S)
    await processes.wait_until("the model", lambda: is_healthy(upstream_port), MODEL_TIMEOUT_S)
    for provider in PROVIDERS:
        await processes.start(provider.provider_id, _agent(stage, provider, upstream_port))
    await processes.wait_until("the order book", lambda: _all_asks(stage), START_TIMEOUT_S)
    return stage


def _gateway(stage: Stage) -> list[str]:
    listen, bridge = f"127.0.0.1:{stage.gateway_port}", f"127.0.0.1:{stage.bridge_port}"
    return _python("gollem", "gateway", "--listen", listen, "--exchange", stage.address, "--bridge", bridge)


def _agent(stage: Stage, provider: Cast, upstream_port: int) -> list[str]:
    options = {
        "--exchange": stage.address,
        "--provider-id": provider.provider_id,
        "--ask-price": provider.ask_price,
        "--max-latency": str(provider.latency_ms),
        "--throughput": str(provider.throughput_tps),
        "--model": MODEL,
        "--gpu-type": "cpu",
        "--upstream": f"http://127.0.0.1:{upstream_port}/v1",
        "--api-key-file": str(stage.key_file(provider.provider_id)),
        "--state-dir": str(stage.folder / f"{provider.provider_id}-agent"),
    }
    return _python("provider_agent", *(word for option in options.items() for word in option))


async def _make_keys(stage: Stage) -> None:
    roles = {provider.provider_id: Role.PROVIDER for provider in PROVIDERS}
    roles |= {CONSUMER: Role.CONSUMER, OPERATOR: Role.OPERATOR}
    for account, role in roles.items():
        write_secret(stage.key_file(account), (await new_key(stage.data, account, role)).secret)


async def _all_asks(stage: Stage) -> bool:
    """Whether every provider can be matched."""
    try:
        async with connect(stage.server(CONSUMER)) as client:
            book = await client.order_book(MODEL)
    except (Failure, GollemError):
        return False
    return sum(one.live_asks for one in book.models) == len(PROVIDERS)


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
