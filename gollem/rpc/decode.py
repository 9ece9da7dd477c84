"""Messages to what the use cases take. Every field is checked here, and nowhere else."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from google.protobuf.message import Message

from gollem import units
from gollem.errors import InvalidField
from gollem.exchange import ClientOutcome, Measurement, Outcome, Status, Usage
from gollem.market import (
    MAX_CAPACITY_SLOTS,
    MAX_CAPACITY_TOKENS,
    MAX_LISTED,
    MAX_PRICE_TICKS,
    MAX_TOKENS,
    Ask,
    Bid,
    Catalogue,
    Policy,
    Weights,
)
from gollem.providers import Gauge
from gollem.rpc import fields
from gollem.rpc.pb import market_pb2, provider_pb2

Inside = TypeVar("Inside")

MAX_GOOD_FOR_MS = 600_000
MAX_ALTERNATES = 8
_MAX_GPU_TYPES = 16
_MAX_EVENTS = 256
_MAX_GPUS = 64

_POLICIES: dict[int, Policy] = {
    market_pb2.POLICY_UNSPECIFIED: Policy.BALANCED,
    market_pb2.POLICY_BALANCED: Policy.BALANCED,
    market_pb2.POLICY_PRICE: Policy.PRICE,
    market_pb2.POLICY_LATENCY: Policy.LATENCY,
    market_pb2.POLICY_THROUGHPUT: Policy.THROUGHPUT,
}
_CLIENT_OUTCOMES: dict[int, ClientOutcome] = {
    market_pb2.ReportRequest.COMPLETED: ClientOutcome.COMPLETED,
    market_pb2.ReportRequest.FAILED_BEFORE_FIRST_CHUNK: ClientOutcome.FAILED_BEFORE_FIRST_CHUNK,
    market_pb2.ReportRequest.FAILED_MIDSTREAM: ClientOutcome.FAILED_MIDSTREAM,
}
_OUTCOMES: dict[int, Outcome] = {
    provider_pb2.SettleRequest.COMPLETED: Outcome.COMPLETED,
    provider_pb2.SettleRequest.CANCELLED: Outcome.CANCELLED,
    provider_pb2.SettleRequest.FAILED: Outcome.FAILED,
}


def bid(message: market_pb2.Bid, catalogue: Catalogue) -> Bid:
    """A bid with the model's own name, its tokens within the model's context. Raises InvalidField, UnknownModel."""
    model = catalogue.resolve(_present(message.model, "bid.model", 128))
    prompt = fields.whole(message.prompt_tokens, "bid.prompt_tokens", 1, MAX_TOKENS - 1)
    wanted = fields.whole(message.max_tokens, "bid.max_tokens", 1, MAX_TOKENS - 1)
    room = min(model.context_tokens, MAX_TOKENS) - prompt
    if room < 1:
        raise InvalidField(
            "bid.prompt_tokens", f"must be below the {model.context_tokens} tokens of context of {model.name}"
        )
    for name in ("gpu_types", "only_providers", "exclude_providers"):
        most = _MAX_GPU_TYPES if name == "gpu_types" else MAX_LISTED
        fields.count(len(getattr(message, name)), f"bid.{name}", most)
    return Bid(
        model=model.name,
        prompt_tokens=prompt,
        max_tokens=min(wanted, room),
        max_price_ticks=_max_price(message.max_price),
        max_cost_atoms=fields.positive_atoms(message.max_cost, "bid.max_cost") if message.max_cost else None,
        max_latency_us=_optional(message, "max_latency_ms", fields.latency_us, "bid."),
        max_tpot_ns=_optional(message, "min_throughput_tps", fields.tpot_ns, "bid."),
        gpu_types=tuple(dict.fromkeys(_gpu(name, "bid.gpu_types", catalogue) for name in message.gpu_types)),
        only_providers=_providers(message.only_providers, "bid.only_providers"),
        exclude_providers=_providers(message.exclude_providers, "bid.exclude_providers"),
        policy=_enum(_POLICIES, message.policy, "bid.policy"),
        weights=_weights(message),
    )


def ask(message: provider_pb2.RegisterRequest, catalogue: Catalogue) -> Ask:
    """An ask to place. Raises InvalidField, UnknownModel."""
    model = catalogue.resolve(_present(message.model, "model", 128))
    gpu_type = _gpu(message.gpu_type, "gpu_type", catalogue)
    price = fields.price_ticks(message.price, "price")
    return Ask(
        provider_id=message.provider_id,
        ask_id=fields.ask_id(message.ask_id or f"{model.name}:{gpu_type}"),
        model=model.name,
        gpu_type=gpu_type,
        price_ticks=price,
        completion_price_ticks=(
            fields.price_ticks(message.completion_price, "completion_price") if message.completion_price else price
        ),
        credit_rate_atoms=units.parse_fixed(message.credit_rate, "credit_rate") if message.credit_rate else 0,
        latency_us=fields.latency_us(message.latency_ms, "latency_ms"),
        tpot_ns=fields.tpot_ns(message.throughput_tps, "throughput_tps"),
        capacity_tokens=fields.whole(message.capacity_tokens, "capacity_tokens", 1, MAX_CAPACITY_TOKENS),
        capacity_slots=fields.whole(message.capacity_slots, "capacity_slots", 1, MAX_CAPACITY_SLOTS),
        endpoint=fields.endpoint(message.endpoint),
    )


def per_minute(message: provider_pb2.RegisterRequest) -> int | None:
    return _optional(message, "max_requests_per_minute", lambda value, name: fields.whole(value, name, 1, 10_000_000))


def status(message: provider_pb2.TelemetryRequest) -> Status:
    """One report of an agent. Raises InvalidField."""
    fields.count(len(message.events), "events", _MAX_EVENTS)
    by_kind: dict[int, list[str]] = {}
    for event in message.events:
        by_kind.setdefault(event.kind, []).append(fields.order_id(event.order_id, "events.order_id"))
    if set(by_kind) - {provider_pb2.OrderEvent.STARTED, provider_pb2.OrderEvent.REFUSED}:
        raise InvalidField("events.kind", "must be STARTED or REFUSED")
    return Status(
        sequence=fields.whole(message.sequence, "sequence", 0, 2**63 - 1),
        price_ticks=fields.price_ticks(message.price, "price") if message.price else None,
        completion_price_ticks=(
            fields.price_ticks(message.completion_price, "completion_price") if message.completion_price else None
        ),
        latency_us=_optional(message, "latency_ms", fields.latency_us),
        tpot_ns=_optional(message, "throughput_tps", fields.tpot_ns),
        capacity_tokens=_optional(message, "capacity_tokens", _up_to(MAX_CAPACITY_TOKENS)),
        capacity_slots=_optional(message, "capacity_slots", _up_to(MAX_CAPACITY_SLOTS)),
        gauge=_gauge(message),
        started=by_kind.get(provider_pb2.OrderEvent.STARTED, ()),
        refused=by_kind.get(provider_pb2.OrderEvent.REFUSED, ()),
    )


def usage(message: provider_pb2.SettleRequest) -> tuple[Usage, Outcome]:
    """What an agent settles. Raises InvalidField."""
    most = 2**31 - 1
    prompt = fields.whole(message.usage.prompt_tokens, "usage.prompt_tokens", 0, most)
    completion = fields.whole(message.usage.completion_tokens, "usage.completion_tokens", 0, most)
    return Usage(prompt, completion), _enum(_OUTCOMES, message.outcome, "outcome")


def measurement(message: market_pb2.ReportRequest) -> tuple[ClientOutcome, Measurement]:
    """What a client reports. Raises InvalidField."""
    outcome = _enum(_CLIENT_OUTCOMES, message.outcome, "outcome")
    _optional(message, "completion_tokens", _up_to(2**31 - 1))
    latency_us = None
    if message.HasField("ttft_ms"):
        if not 0 <= message.ttft_ms <= 3_600_000:
            raise InvalidField("ttft_ms", "must be from 0 to 3600000")
        latency_us = max(round(message.ttft_ms * 1_000), 1)
    return outcome, Measurement(latency_us, _optional(message, "throughput_tps", fields.tpot_ns))


def _gpu(text: str, field: str, catalogue: Catalogue) -> str:
    """The catalogue's own name of a GPU type."""
    name = _present(text, field, 64).lower()
    if name not in catalogue.gpus:
        raise InvalidField(field, f"must be one of {', '.join(catalogue.gpus)}, not {text!r}")
    return name


def _weights(message: market_pb2.Bid) -> Weights:
    if not message.HasField("weights"):
        return Weights()
    given = message.weights
    for name in ("price", "latency", "throughput"):
        fields.whole(getattr(given, name), f"bid.weights.{name}", 0, 1_000)
    if not (given.price or given.latency or given.throughput):
        raise InvalidField("bid.weights", "must not all be 0")
    return Weights(given.price, given.latency, given.throughput)


def _max_price(text: str) -> int | None:
    """No ask is above the highest price, so a limit above it is that one."""
    if not text:
        return None
    ticks = units.parse_fixed(text, "bid.max_price")
    if ticks < 1:
        raise InvalidField("bid.max_price", "must be at least 0.00000001")
    return min(ticks, MAX_PRICE_TICKS)


def _providers(names: Iterable[str], field: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fields.account(name, field) for name in names))


def _gauge(message: provider_pb2.TelemetryRequest) -> Gauge:
    fields.count(len(message.gpus), "gpus", _MAX_GPUS)
    return Gauge(
        running=_optional(message, "running", _up_to(1_000_000)),
        queued=_optional(message, "queued", _up_to(1_000_000)),
        gpus=tuple(
            (
                gpu.name[:128],
                fields.whole(gpu.utilisation_percent, "gpus.utilisation_percent", 0, 100),
                fields.whole(gpu.memory_used_bytes, "gpus.memory_used_bytes", 0, 2**50),
                fields.whole(gpu.memory_total_bytes, "gpus.memory_total_bytes", 0, 2**50),
            )
            for gpu in message.gpus
        ),
    )


def _up_to(most: int) -> Callable[[int, str], int]:
    return lambda value, name: fields.whole(value, name, 0, most)


def _optional(message: Message, name: str, check: Callable[[Any, str], Inside], prefix: str = "") -> Inside | None:
    """The checked value of a field that may be absent."""
    if not message.HasField(name):
        return None
    return check(getattr(message, name), prefix + name)


def _enum(names: Mapping[int, Inside], value: int, field: str) -> Inside:
    if value not in names:
        raise InvalidField(field, f"is not one of the values of the API: {value}")
    return names[value]


def _present(text: str, field: str, most: int) -> str:
    if not 1 <= len(text) <= most:
        raise InvalidField(field, f"must be 1 to {most} characters")
    return text
