"""The command line of the agent, checked, as one frozen dataclass."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104
_HOST_PORT = re.compile(r"(?P<host>\[[0-9a-fA-F:.]*\]|[^:\[\]/]*):(?P<port>[0-9]{1,5})")


class BadOption(ValueError):
    """Names the option and says what would do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is sold, where, and between which servers. Prices are decimals as text."""

    provider_id: str
    model: str
    price: str
    latency_ms: int
    throughput_tps: float
    api_key: str = field(repr=False)
    exchange: str = "127.0.0.1:50051"
    upstream: str = "http://127.0.0.1:8000/v1"
    upstream_model: str = ""
    upstream_api_key: str = field(default="", repr=False)
    gpu_type: str = "cpu"
    ask_id: str = ""
    completion_price: str = ""
    credit_rate: str = ""
    slots: int = 4
    capacity_tokens: int | None = None
    max_requests_per_minute: int | None = None
    # Where consumers are served. Empty: at any address and the port of `endpoint`, or at 127.0.0.1 and a free port.
    listen: str = ""
    endpoint: str = ""
    state_dir: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    drain_ms: int = 30_000
    # Of the agent's own metrics; None: they are not served.
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        host, _ = self.listen_address
        if not self.endpoint and host in _WILDCARDS:
            raise BadOption("--endpoint: say under which address consumers reach you, as --listen takes any")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise BadOption("--tls-cert and --tls-key: both or neither")

    @property
    def listen_address(self) -> tuple[str, int]:
        """Host (without brackets) and port. Raises BadOption."""
        if self.listen:
            return _host_port("--listen", self.listen)
        endpoint = _HOST_PORT.fullmatch(self.endpoint)
        if endpoint is None:
            return "127.0.0.1", 0
        # An endpoint is the machine's name to others, which need not be an address of its own.
        anywhere = "::" if endpoint["host"].startswith("[") else "0.0.0.0"  # noqa: S104
        return anywhere, _host_port("--endpoint", self.endpoint)[1]

    @property
    def told_port(self) -> int | None:
        """The port that consumers are told; None where `endpoint` names none."""
        if not self.endpoint:
            return None
        port = self.endpoint.rpartition(":")[2].rstrip("/")
        return int(port) if port.isascii() and port.isdigit() else None

    def endpoint_at(self, port: int) -> str:
        """Where consumers reach the agent when it has bound `port`."""
        if self.endpoint:
            return self.endpoint
        host = self.listen_address[0]
        host = f"[{host}]" if ":" in host else host
        return f"{'https://' if self.tls_cert else ''}{host}:{port}"

    @property
    def folder(self) -> Path:
        """Where the journal is kept: by default one folder an ask, under the current one."""
        if self.state_dir is not None:
            return self.state_dir
        ask = self.ask_id or f"{self.model}:{self.gpu_type}"
        return Path("gollem-agent") / quote(self.provider_id, safe="") / quote(ask, safe="")

    @property
    def total_tokens(self) -> int:
        """Capacity in tokens: by default 4,096 a slot."""
        return self.capacity_tokens or 4_096 * self.slots


def _host_port(option: str, text: str) -> tuple[str, int]:
    """Host without brackets, and port. Raises BadOption."""
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65_535:
        raise BadOption(f"{option}: must be host:port, not {text!r}")
    return match["host"].strip("[]"), int(match["port"])
