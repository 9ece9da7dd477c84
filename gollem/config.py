"""Every setting, one frozen dataclass a room, its range beside the field.

A setting `port` of section `server` is `port` under `[server]` in the file, `GOLLEM_SERVER_PORT` in the environment and
`--set server.port=...` on the command line; the later of these wins. Whatever is wrong is reported with its key.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field, fields
from os import getpid
from pathlib import Path
from socket import gethostname
from typing import Any, get_type_hints

PREFIX = "GOLLEM_"
_SWITCHES = {"true": True, "false": False}
GATEWAYS = ("none", "local", "stripe")
# Settings that moved: the old names go on working.
_RENAMED = {"payments.webhook_host": "bridge.host", "payments.webhook_port": "bridge.port"}
RETURN_URL = re.compile(r"(?:https://|http://(?:localhost|127\.0\.0\.1)[:/])[!-~]{1,2000}", re.ASCII)
_PUBLISHABLE = re.compile(r"pk_(?:test|live)_[A-Za-z0-9]{1,250}", re.ASCII)
_URL = re.compile(r"https?://[A-Za-z0-9\[][!-~]{0,2000}", re.ASCII)
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?", re.ASCII)
_HOST_PORT = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9._-]{1,253})):(?P<port>[0-9]{1,5})", re.ASCII
)


class ConfigError(ValueError):
    """A setting is unknown or breaks its rule; the text names the key and says what would do."""


def _number(default: int, least: int, most: int, about: str) -> Any:
    return field(default=default, metadata={"least": least, "most": most, "about": about})


def _text(default: str, about: str) -> Any:
    return field(default=default, metadata={"about": about})


def _formed(form: re.Pattern[str], rule: str, about: str) -> Any:
    """Text that is empty or of this form. `rule` says which; what was given is not told, as it may be a secret."""
    return field(default="", metadata={"about": about, "form": form, "rule": rule})


def _secret(about: str) -> Any:
    return field(default="", repr=False, metadata={"about": about, "secret": True})


def _choice(default: str, allowed: tuple[str, ...], about: str) -> Any:
    return field(default=default, metadata={"about": f"{about}: {', '.join(allowed)}", "allowed": allowed})


def _switch(default: bool, about: str) -> Any:
    return field(default=default, metadata={"about": f"{about}: true or false", "switch": True})


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The gRPC edge."""

    host: str = _text("127.0.0.1", "address to listen on")
    port: int = _number(50051, 0, 65_535, "gRPC port; 0 takes a free one")
    max_message_bytes: int = _number(4 << 20, 1 << 10, 64 << 20, "largest message accepted")
    max_connections: int = _number(10_000, 1, 1_000_000, "connections held at once")
    max_streams: int = _number(1_000, 1, 100_000, "calls at once on one connection")
    idle_timeout_ms: int = _number(300_000, 1_000, 86_400_000, "a connection without calls is closed after this")
    drain_timeout_ms: int = _number(10_000, 0, 600_000, "how long calls may finish when the server stops")
    requests_per_second: int = _number(2_000, 1, 1_000_000, "calls a second of one account")
    burst: int = _number(4_000, 1, 1_000_000, "calls of one account at once above its rate")
    metrics_host: str = _text("127.0.0.1", "address of metrics and health")
    metrics_port: int = _number(9090, 0, 65_535, "HTTP port of metrics and health; 0 takes a free one")


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Where things are kept."""

    data: str = _text("gollem-data", "folder of the ledger, the API keys and the signing key")
    ledger: str = _text("", "URL of the ledger; empty: sqlite in the data folder")
    keys: str = _text("", "URL of the API keys, such as dynamodb://gollem-keys; empty: sqlite in the data folder")
    grant_keys: str = _secret("keys that sign grants, separated by commas; the first signs; empty: in the data folder")

    def folder(self) -> Path:
        """The data folder, made for its owner only if it is not there."""
        folder = Path(self.data)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def ledger_url(self) -> str:
        return self.ledger or f"sqlite://{Path(self.data).absolute() / 'ledger.db'}"


@dataclass(frozen=True, slots=True)
class MarketConfig:
    """What is for sale."""

    catalogue: str = _text("", "TOML file of models and GPUs; empty: the one that comes with GoLLeM")
    fee_bps: int = _number(500, 0, 10_000, "platform fee in basis points of the charge")
    max_resting_bids: int = _number(10_000, 0, 1_000_000, "bids resting in the book at once")
    max_resting_bids_per_account: int = _number(256, 0, 1_000_000, "bids of one account resting at once")


@dataclass(frozen=True, slots=True)
class ProvidersConfig:
    """How providers are watched."""

    telemetry_interval_ms: int = _number(1_000, 10, 60_000, "how often agents are asked to report")
    withdraw_after_ms: int = _number(10_000, 20, 600_000, "silence after which an ask is not matched")
    forget_after_ms: int = _number(120_000, 40, 86_400_000, "silence after which an ask is removed")
    circuit_failures: int = _number(5, 1, 1_000, "failures within the window that open the circuit")
    circuit_window_ms: int = _number(30_000, 100, 3_600_000, "window in which failures count")
    circuit_open_ms: int = _number(10_000, 10, 3_600_000, "how long an open circuit waits for its probe")
    samples_needed: int = _number(20, 1, 10_000, "client reports before measured figures replace the promised")
    samples_kept: int = _number(256, 1, 10_000, "client reports that measured figures are taken from")
    samples_max_age_ms: int = _number(600_000, 100, 86_400_000, "age at which a client report no longer counts")
    max_asks: int = _number(1_000_000, 1, 10_000_000, "asks in the book at once")
    max_asks_per_provider: int = _number(256, 1, 100_000, "asks of one provider at once")


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    """The life of an order."""

    grant_ttl_ms: int = _number(60_000, 1_000, 3_600_000, "how long a grant may wait for its start")
    settle_grace_ms: int = _number(120_000, 1_000, 86_400_000, "added to an order's expected length for its deadline")
    max_order_ms: int = _number(1_800_000, 1_000, 86_400_000, "longest time a hold stays open")
    cancel_wait_ms: int = _number(1_000, 0, 60_000, "how long Cancel waits for the provider's answer")
    sweep_interval_ms: int = _number(1_000, 10, 600_000, "how often overdue holds are looked for")


@dataclass(frozen=True, slots=True)
class PaymentsConfig:
    """Dollars in, dollars out. What is secret is better given by the environment than in a file or a command line."""

    gateway: str = _text("none", "who takes and pays money: stripe, local (for development), or none")
    stripe_key: str = _secret("secret key of the Stripe account")
    stripe_url: str = _text("", "where Stripe's API is, for tests; empty: Stripe itself")
    webhook_secrets: str = _secret("signing secrets of the platform's webhook endpoint, separated by commas")
    connect_secrets: str = _secret("signing secrets of the connected accounts' endpoint, separated by commas")
    stripe_publishable_key: str = _formed(
        _PUBLISHABLE,
        "must be one key that begins with pk_live_ or pk_test_: everybody who opens the dashboard gets it",
        "publishable key of the Stripe account, for the dashboard's payment form",
    )
    return_url: str = _text("https://localhost/", "where providers come back to when theirs names none")
    delay_days: int = _number(7, 0, 90, "days after which earnings become payable; 0, at once, is for trying things")
    payout_cents: int = _number(10_000, 100, 100_000_000, "payable earnings, in cents of USD, paid out by themselves")
    least_payout_cents: int = _number(100, 1, 100_000_000, "least that is paid out monthly or by request, in cents")
    payout_interval_ms: int = _number(60_000, 100, 86_400_000, "how often payouts are looked after")
    poll_interval_ms: int = _number(300_000, 100, 86_400_000, "how often it is read what webhooks may have missed")
    inbox_interval_ms: int = _number(1_000, 10, 600_000, "how often stored events are handled")
    abandon_after_ms: int = _number(86_400_000, 60_000, 2_592_000_000, "age at which an unpaid purchase is cancelled")
    books_interval_ms: int = _number(3_600_000, 100, 86_400_000, "how often the payment provider's books are compared")
    adjustment_cap_cents: int = _number(100_000, 0, 100_000_000, "most that adjustments may move in a day, in cents")


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """The door for HTTP: webhooks, if money is taken, and the dashboard."""

    host: str = _text("127.0.0.1", "address of the bridge for webhooks and the dashboard")
    port: int = _number(8080, 0, 65_535, "port of the bridge; 0 takes a free one")
    dashboard: bool = _switch(False, "the bridge serves the dashboard, which needs the gateway before it")


@dataclass(frozen=True, slots=True)
class ReconcileConfig:
    """How the books are proven while they are used. Each pause is at least twenty times what the checks took."""

    quick_interval_ms: int = _number(60_000, 100, 86_400_000, "how often the trial balance and holds are proven")
    deep_interval_ms: int = _number(3_600_000, 100, 86_400_000, "how often every transaction and balance is proven")
    seal_interval_ms: int = _number(600_000, 100, 86_400_000, "how often it is seen whether a day is to be sealed")
    hold_grace_ms: int = _number(60_000, 1_000, 86_400_000, "how long after its deadline a hold may still be open")
    seal_copy: str = _text("", "file outside of the data folder for copies of the daily seals; empty: none")
    alert_interval_ms: int = _number(10_000, 10, 86_400_000, "how often all balances with an alert are looked at")


@dataclass(frozen=True, slots=True)
class NodesConfig:
    """Several servers over one book."""

    book: str = _secret("memory: this process alone; or a URL of redis, rediss, redis+sentinel or redis+cluster")
    name: str = _text("", "what this node is called among the others; empty: its host and process")
    partitions: int = _number(8, 1, 256, "streams that changes of the book are spread over; the same on every node")
    flush_ms: int = _number(20, 1, 1_000, "how long changes are collected before they are sent, or read")
    claim_timeout_ms: int = _number(250, 10, 10_000, "how long one call of Redis may take")
    lease_ms: int = _number(15_000, 100, 600_000, "how long capacity is claimed for an order that is not committed yet")
    claim_tries: int = _number(4, 1, 100, "asks that are tried for a bid when other nodes have taken the room")
    degraded_ms: int = _number(30_000, 0, 3_600_000, "how long this node claims capacity alone while Redis is away")
    heartbeat_ms: int = _number(1_000, 10, 60_000, "how often a node tells that it is there")
    join_ms: int = _number(60_000, 100, 600_000, "how long a start may take to read the book")
    forget_ms: int = _number(600_000, 1_000, 86_400_000, "silence after which an ask or a node leaves Redis")
    stream_length: int = _number(10_000, 10, 1_000_000, "batches of a stream that nodes which fell behind may read")
    max_events: int = _number(10_000, 10, 1_000_000, "events of a stream that wait to be sent at once")
    connections: int = _number(64, 1, 10_000, "connections to Redis, or to each node of its Cluster, for claims")

    @property
    def is_alone(self) -> bool:
        return self.book in ("", "memory")

    def own_name(self) -> str:
        return self.name or f"{gethostname()}-{getpid()}"


@dataclass(frozen=True, slots=True)
class ObservabilityConfig:
    """What is told of it all, and to whom."""

    log: str = _choice("text", ("text", "json"), "form of the log")
    level: str = _choice("info", ("debug", "info", "warning", "error"), "least that is logged")
    max_series: int = _number(
        200, 1, 10_000, "providers, and their models, with figures of their own; others are added"
    )
    read_interval_ms: int = _number(15_000, 100, 3_600_000, "how often figures are read from the ledger")
    emf: bool = _switch(False, "figures for CloudWatch in the log, in its embedded metric format")
    emf_interval_ms: int = _number(60_000, 100, 3_600_000, "how often they are written there")
    otlp: str = _formed(
        _URL,
        "must be a URL such as http://127.0.0.1:4318/v1/traces",
        "URL of an OpenTelemetry collector (OTLP over HTTP) for traces; empty: none are made",
    )
    trace_percent: int = _number(100, 0, 100, "of requests that are not traced already, so many in a hundred are")


@dataclass(frozen=True, slots=True)
class HostPort:
    """A place to listen at, or to connect to."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """HTTP in front of the exchange: what `gollem gateway` has Envoy do."""

    listen: str = _text("127.0.0.1:8090", "host:port where HTTP is served")
    exchange: str = _text("127.0.0.1:50051", "host:port of the exchange; of several nodes, separated by commas")
    bridge: str = _text("127.0.0.1:8080", "host:port of the webhook bridge, which gets all that is no call")
    certificate: str = _text("", "PEM file of the certificate and its chain; empty: no TLS")
    private_key: str = _text("", "PEM file of the certificate's private key")
    cors_origins: str = _text("", "origins whose pages may call, separated by commas; empty: none but our own")
    trusted_hops: int = _number(0, 0, 10, "proxies of ours in front, whose x-forwarded-for is believed")
    admin_port: int = _number(0, 0, 65_535, "port of Envoy's own pages, for this machine only; 0: none")
    threads: int = _number(0, 0, 256, "threads of Envoy; 0: one a core")
    max_connections: int = _number(10_000, 1, 1_000_000, "connections held at once")
    max_streams: int = _number(100, 1, 10_000, "requests at once on one connection")
    max_requests: int = _number(10_000, 1, 1_000_000, "requests under way at the exchange at once")
    max_body_bytes: int = _number(4 << 20, 1 << 10, 64 << 20, "largest body accepted")
    requests_per_second: int = _number(100, 1, 1_000_000, "HTTP requests a second of one address")
    burst: int = _number(200, 1, 1_000_000, "HTTP requests of one address at once above its rate")
    calls_per_second: int = _number(2_000, 1, 1_000_000, "gRPC calls a second of one address; a stream is one")
    calls_burst: int = _number(4_000, 1, 1_000_000, "gRPC calls of one address at once above its rate")
    timeout_ms: int = _number(30_000, 100, 600_000, "how long a request may take")
    stream_timeout_ms: int = _number(1_860_000, 100, 86_400_000, "how long a streamed answer may take")
    idle_timeout_ms: int = _number(300_000, 1_000, 86_400_000, "a connection or stream that is silent is closed")

    def __post_init__(self) -> None:
        self.listen_address(), self.exchanges(), self.bridge_address()
        if bool(self.certificate) != bool(self.private_key):
            raise ConfigError("gateway.certificate and gateway.private_key: each needs the other")
        for origin in self.origins():
            if not _ORIGIN.fullmatch(origin):
                raise ConfigError(f"gateway.cors_origins: must be such as https://app.example, not {origin!r}")

    def listen_address(self) -> HostPort:
        return _host_port("gateway.listen", self.listen)

    def exchanges(self) -> list[HostPort]:
        return [_host_port("gateway.exchange", place) for place in _listed(self.exchange) or [""]]

    def bridge_address(self) -> HostPort:
        return _host_port("gateway.bridge", self.bridge)

    def origins(self) -> list[str]:
        return _listed(self.cors_origins)


@dataclass(frozen=True, slots=True)
class Config:
    """All of it."""

    server: ServerConfig = field(default_factory=ServerConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    market: MarketConfig = field(default_factory=MarketConfig)
    providers: ProvidersConfig = field(default_factory=ProvidersConfig)
    exchange: ExchangeConfig = field(default_factory=ExchangeConfig)
    payments: PaymentsConfig = field(default_factory=PaymentsConfig)
    bridge: BridgeConfig = field(default_factory=BridgeConfig)
    reconcile: ReconcileConfig = field(default_factory=ReconcileConfig)
    nodes: NodesConfig = field(default_factory=NodesConfig)
    observability: ObservabilityConfig = field(default_factory=ObservabilityConfig)
    gateway: GatewayConfig = field(default_factory=GatewayConfig)

    # Not where everything that is wrong is to be told.
    strict: InitVar[bool] = True

    def __post_init__(self, strict: bool) -> None:
        for fault in _contradictions(self) if strict else ():
            raise ConfigError(fault)


def _contradictions(config: Config) -> Iterator[str]:
    """What is wrong between settings that are each right."""
    watch, payments = config.providers, config.payments
    if not watch.telemetry_interval_ms < watch.withdraw_after_ms < watch.forget_after_ms:
        yield "providers.telemetry_interval_ms, .withdraw_after_ms and .forget_after_ms: each must be below the next"
    if config.nodes.forget_ms < watch.forget_after_ms:
        yield "nodes.forget_ms: must not be below providers.forget_after_ms"
    if payments.gateway not in GATEWAYS:
        yield f"payments.gateway: must be one of {', '.join(GATEWAYS)}, not {payments.gateway!r}"
    if not RETURN_URL.fullmatch(payments.return_url):
        yield f"payments.return_url: must be an https:// address, or http://localhost, not {payments.return_url!r}"
    if payments.payout_cents < payments.least_payout_cents:
        yield (
            f"payments.payout_cents: must be at least payments.least_payout_cents, {payments.least_payout_cents}: "
            f"{payments.payout_cents} would never be paid out"
        )


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _host_port(key: str, text: str) -> HostPort:
    found = _HOST_PORT.fullmatch(text)
    if not found or not 1 <= int(found["port"]) <= 65_535:
        raise ConfigError(f"{key}: must be host:port, such as 127.0.0.1:8090 or [::1]:8090, not {text!r}")
    return HostPort(found["v6"] or found["name"], int(found["port"]))


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Config:
    """Settings from the file, then the environment, then `overrides` ("section.name" -> text). Raises ConfigError."""
    config, faults = read(file, environment, overrides)
    if faults:
        raise ConfigError(faults[0])
    return config


def read(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> tuple[Config, list[str]]:
    """As `load`, with everything that is wrong, a line each. A value that is wrong by itself is left at its default."""
    faults: list[str] = []
    values: dict[str, object] = {}
    with _noted(faults):
        values |= _from_file(file) if file else {}
    values |= _from_environment(environment or {})
    values |= overrides or {}
    sections: dict[str, dict[str, object]] = {section.name: {} for section in fields(Config)}
    for key, value in values.items():
        with _noted(faults):
            section, name, checked = _placed(key, value)
            sections[section][name] = checked
    parts: dict[str, Any] = {}
    for section, chosen in sections.items():
        with _noted(faults):
            parts[section] = get_type_hints(Config)[section](**chosen)
    config = Config(**parts, strict=False)
    return config, [*faults, *_contradictions(config)]


@contextmanager
def _noted(faults: list[str]) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        faults.append(str(error))


def _placed(told: str, value: object) -> tuple[str, str, object]:
    """Section, name and the value in its type. Raises ConfigError."""
    key = _RENAMED.get(told, told)
    section, _, name = key.partition(".")
    known = _settings(section) if section in {each.name for each in fields(Config)} else {}
    if name not in known:
        raise ConfigError(f"{key}: there is no such setting; `gollem config` lists all of them")
    return section, name, _checked(key, value, known[name])


def describe(config: Config) -> list[tuple[str, object, str]]:
    """Every setting as (key, value, what it is). Secrets are not told, only whether they are set."""
    return [
        (f"{section.name}.{name}", _shown(getattr(getattr(config, section.name), name), info), info.metadata["about"])
        for section in fields(Config)
        for name, info in _settings(section.name).items()
    ]


def _shown(value: object, info: Any) -> object:
    return "(set)" if value and info.metadata.get("secret") else value


def _settings(section: str) -> dict[str, Any]:
    return {info.name: info for info in fields(get_type_hints(Config)[section])}


def _from_file(file: Path) -> dict[str, object]:
    try:
        tree = tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from error
    values: dict[str, object] = {}
    for section, body in tree.items():
        if not isinstance(body, dict):
            raise ConfigError(f"{section}: must be a section, such as [server]")
        values |= {f"{section}.{name}": value for name, value in body.items()}
    return values


def variable_of(key: str) -> str:
    """The variable of the environment for a setting `section.name`."""
    return f"{PREFIX}{key}".replace(".", "_").upper()


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """Only names that begin with GOLLEM_ and a section; GOLLEM_API_KEY and GOLLEM_SERVER are no settings."""
    sections = {section.name for section in fields(Config)}
    values: dict[str, object] = {}
    for variable, value in environment.items():
        section, _, name = variable.removeprefix(PREFIX).lower().partition("_")
        if variable.startswith(PREFIX) and section in sections and name:
            values[f"{section}.{name}"] = value
    return values


def _checked(key: str, value: object, info: Any) -> object:
    """The value in its setting's type and range."""
    if "switch" in info.metadata:
        if str(value).lower() not in _SWITCHES:
            raise ConfigError(f"{key}: must be true or false, not {value!r}")
        return _SWITCHES[str(value).lower()]
    if "allowed" in info.metadata and value not in info.metadata["allowed"]:
        raise ConfigError(f"{key}: must be one of {', '.join(info.metadata['allowed'])}, not {value!r}")
    if "least" not in info.metadata:
        if not isinstance(value, str):
            raise ConfigError(f"{key}: must be text, not {type(value).__name__}")
        if value and "form" in info.metadata and not info.metadata["form"].fullmatch(value):
            raise ConfigError(f"{key}: {info.metadata['rule']}")
        return value
    least, most = info.metadata["least"], info.metadata["most"]
    try:
        number = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise ConfigError(f"{key}: must be a whole number from {least} to {most}, not {value!r}")
    return number
