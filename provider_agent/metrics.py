"""Every metric of the agent, and how it is counted: names and units by Prometheus's conventions.

What a generation took has OpenTelemetry's gen_ai names. Labels are bounded: the agent's one model, its GPUs, outcomes,
reasons, and the engine's figures that `engine.py` knows.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric

from gollem_client.stubs import GpuStatus
from provider_agent.metering import Outcome, Tokens

CONTENT_TYPE = CONTENT_TYPE_LATEST
_ATOMS_PER_CREDIT = 100_000_000
# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/ gives these bounds.
_REQUEST_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_TOKEN_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_MODEL = ("gen_ai_request_model",)

# Name, meaning, labels, then (labels, value) of each series.
Gauge = tuple[str, str, tuple[str, ...], Sequence[tuple[tuple[str, ...], float]]]


class ServingTimes:
    """One generation's: from its beginning to its first text, and to its end."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self.began_s = now_s()
        self.first_s: float | None = None
        self.last_s: float | None = None

    def text(self) -> None:
        """A delta with text has come from the model server."""
        self.last_s = self._now_s()
        if self.first_s is None:
            self.first_s = self.last_s

    @property
    def taken_s(self) -> float:
        return self._now_s() - self.began_s


class AgentMetrics:
    """`gauges` are asked at each scrape for what is so now."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._registry = CollectorRegistry()
        self._sources: list[Callable[[], Iterable[Gauge]]] = []
        self._earned_atoms = 0
        registry = self._registry
        self._requests = Histogram(
            "gen_ai_server_request_duration_seconds",
            "How long a generation took.",
            (*_MODEL, "outcome"),
            buckets=_REQUEST_S,
            registry=registry,
        )
        self._first = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From an order's beginning to its first text.",
            _MODEL,
            buckets=_FIRST_S,
            registry=registry,
        )
        self._per_token = Histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Between the first text and the last, for each token after the first.",
            _MODEL,
            buckets=_TOKEN_S,
            registry=registry,
        )
        self._tokens = Counter(
            "gollem_agent_tokens_total", "Tokens that were delivered.", ("gen_ai_token_type",), registry=registry
        )
        self._refused = Counter(
            "gollem_agent_refusals_total", "Generations refused, by reason.", ("reason",), registry=registry
        )
        self._settled = Counter(
            "gollem_agent_settlements_total",
            "Answers to settlements: settled, or never.",
            ("state",),
            registry=registry,
        )
        ProcessCollector(registry=registry)
        registry.register(_Gauges(self))
        self.gauges(self._earnings)

    def gauges(self, source: Callable[[], Iterable[Gauge]]) -> None:
        self._sources.append(source)

    def served(self, times: ServingTimes, tokens: Tokens, outcome: Outcome) -> None:
        """A generation has ended."""
        self._requests.labels(self._model, outcome.value.lower()).observe(times.taken_s)
        self._tokens.labels("input").inc(tokens.prompt)
        self._tokens.labels("output").inc(tokens.completion)
        if times.first_s is not None and times.last_s is not None:
            self._first.labels(self._model).observe(times.first_s - times.began_s)
            if tokens.completion > 1:
                self._per_token.labels(self._model).observe((times.last_s - times.first_s) / (tokens.completion - 1))

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def settled(self, provider_share: str) -> None:
        """The exchange's answer: credits as a decimal of 8 places."""
        self._settled.labels("settled").inc()
        self._earned_atoms += _atoms(provider_share)

    def never_settled(self) -> None:
        self._settled.labels("never").inc()

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def read(self) -> Iterable[Gauge]:
        for source in self._sources:
            yield from source()

    def _earnings(self) -> Iterable[Gauge]:
        earned = self._earned_atoms / _ATOMS_PER_CREDIT
        yield "gollem_agent_earned_credits", "Shares of orders that were settled since the start.", (), [((), earned)]


class _Gauges:
    """What the vendor asks for figures that are read."""

    def __init__(self, metrics: AgentMetrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        for name, about, labels, series in self._metrics.read():
            family = GaugeMetricFamily(name, about, labels=labels)
            for values, value in series:
                family.add_metric(values, value)
            yield family


def gpu_gauges(gpus: Sequence[GpuStatus]) -> Iterable[Gauge]:
    labels = ("gpu", "name")
    names = [(str(index), gpu.name) for index, gpu in enumerate(gpus)]
    figures = (
        ("gollem_agent_gpu_utilisation_ratio", "How busy the GPU is.", [gpu.utilisation_percent / 100 for gpu in gpus]),
        ("gollem_agent_gpu_memory_used_bytes", "VRAM in use.", [gpu.memory_used_bytes for gpu in gpus]),
        ("gollem_agent_gpu_memory_total_bytes", "VRAM in all.", [gpu.memory_total_bytes for gpu in gpus]),
    )
    for name, about, values in figures:
        yield name, about, labels, list(zip(names, map(float, values), strict=True))


def _atoms(amount: str) -> int:
    """Of a decimal with 8 places, as the exchange writes it."""
    whole, _, part = amount.partition(".")
    digits = whole + part.ljust(8, "0")[:8]
    return int(digits) if digits.isascii() and digits.isdigit() else 0
