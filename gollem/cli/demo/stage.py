"""Sets the stage: keys, an exchange of one node or several, a model server and three provider agents, each a process of
its own."""

import sys
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from gollem.cli.connection import Server, connect
from gollem.cli.demo.model_server import MODEL
from gollem.cli.demo.processes import Processes, answers, free_port, is_healthy
from gollem.cli.demo.servers import Shared, start_shared
from gollem.cli.failure import Failure
from gollem.cli.keys import new_key, write_secret
from gollem.config import GatewayConfig
from gollem.identity import Role
from gollem_client import GollemError

START_TIMEOUT_S = 30.0
MODEL_TIMEOUT_S = 60.0
GATEWAY_PORT = GatewayConfig().listen_address().port  # if it is free: what docs say works as pasted then


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
    "server.metrics_port=0",
    "bridge.dashboard=true",
    "payments.delay_days=0",
    "payments.least_payout_cents=1",
    "payments.payout_interval_ms=200",
    "payments.inbox_interval_ms=100",
)
CONSUMER = "alice"
OPERATOR = "house"
PROVIDER = "swift"  # whose key README's commands over HTTP use


@dataclass(frozen=True)
class Stage:
    """Where everything is. Keys lie in files of their own, which only their owner can read."""

    folder: Path
    ports: tuple[int, ...]  # of the exchange's nodes
    shared: Shared
    bridge_ports: tuple[int, ...]  # of theirs, for HTTP
    gateway_port: int = 0  # 0: nobody is to see the dashboard, or Envoy is not installed

    @property
    def address(self) -> str:
        """Of every node."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    @property
    def names(self) -> list[str]:
        """Of the nodes, as processes and among each other."""
        return ["exchange"] if len(self.ports) == 1 else [f"node-{number}" for number in range(1, len(self.ports) + 1)]

    def node_at(self, place: str) -> str:
        """The name of the node at this address."""
        return self.names[self.ports.index(int(place.rpartition(":")[2]))]

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


async def set_up(processes: Processes, folder: Path, ledger: str = "", nodes: int = 1) -> Stage:
    """Start everything and wait until all three asks are in the book. Raises Failure."""
    shared = await start_shared(processes, folder, ledger) if nodes > 1 else Shared(ledger)
    stage = Stage(folder, tuple(_free_ports(nodes)), shared, tuple(_free_ports(nodes)))
    await _make_keys(stage)
    upstream_port = free_port()
    await processes.start("model", _python("gollem.cli.demo.model_server", str(upstream_port)))
    await _start_exchange(processes, stage)
    await processes.wait_until("the model", lambda: is_healthy(upstream_port), MODEL_TIMEOUT_S)
    for provider in PROVIDERS:
        await processes.start(provider.provider_id, _agent(stage, provider, upstream_port))
    await processes.wait_until("the order book", lambda: _all_asks(stage), START_TIMEOUT_S)
    return stage


async def open_dashboard(processes: Processes, stage: Stage) -> Stage:
    """A gateway before the nodes that are left, if Envoy is installed. The stage with its port."""
    if not find_spec("envoy"):
        return stage
    port, bridges = free_port(GATEWAY_PORT), [bridge for bridge in stage.bridge_ports if await answers(bridge)]
    listen, bridge = f"127.0.0.1:{port}", f"127.0.0.1:{bridges[0]}"
    words = ["gateway", "--listen", listen, "--exchange", stage.address, "--bridge", bridge]
    await processes.start("gateway", _python("gollem", *words))
    await processes.wait_until("the gateway", partial(answers, port), START_TIMEOUT_S)
    return replace(stage, gateway_port=port)


def _free_ports(number: int) -> list[int]:
    return [free_port() for _ in range(number)]


async def _start_exchange(processes: Processes, stage: Stage) -> None:
    """Every node, until each of them answers."""
    for name, port, bridge in zip(stage.names, stage.ports, stage.bridge_ports, strict=True):
        serve = _python("gollem", "serve", "--data", str(stage.data), "--port", str(port), *stage.shared.options())
        settings = (*SETTINGS, f"nodes.name={name}", f"bridge.port={bridge}")
        serve += ["--payments", "local", *(word for setting in settings for word in ("--set", setting))]
        await processes.start(name, serve, dict(stage.shared.environment))
    for name, port in zip(stage.names, stage.ports, strict=True):
        await processes.wait_until(name, partial(answers, port), START_TIMEOUT_S)


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
    """Whether every provider can be matched, at every node."""
    for port in stage.ports:
        try:
            async with connect(replace(stage.server(CONSUMER), address=f"127.0.0.1:{port}")) as client:
                book = await client.order_book(MODEL)
        except (Failure, GollemError):
            return False
        if sum(one.live_asks for one in book.models) != len(PROVIDERS):
            return False
    return True


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
