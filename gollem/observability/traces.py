"""Traces of a request through match, claim, hold, stream and settle, by OpenTelemetry; off unless a collector is named.

Switched off, a span costs a look at one name. Switched on, spans are handed to a thread through a bounded queue: what
does not fit is dropped. Who called, and whom we call, is tied in by W3C's `traceparent` metadata. Nothing of a prompt,
an answer, a key or a user is told.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from gollem.config import ConfigError
from gollem.observability.logs import note

QUEUED = 2_048
PARENT = "traceparent"
_EXPORT_S = 5
_LAST_WORDS_S = 2.0
_OFF: AbstractContextManager[Any] = nullcontext()
_tracer: Any = None


def span(name: str, **attributes: str | int) -> AbstractContextManager[Any]:
    """A part of what is being done, from entering to leaving; of coroutines only, not of generators."""
    return _OFF if _tracer is None else _tracer.start_as_current_span(name, attributes=attributes)


def call_span(name: str, parent: object) -> AbstractContextManager[Any]:
    """Of a call that came in, which may have told its `traceparent`. The log's lines carry its trace_id."""
    return _OFF if _tracer is None else _call(name, parent)


@contextmanager
def call_out(name: str, **attributes: str | int) -> Iterator[dict[str, str]]:
    """Of a call to somebody else, also within a generator: gives the metadata to send with it."""
    if _tracer is None:
        yield {}
        return
    from opentelemetry import trace

    carrier: dict[str, str] = {}
    one = _tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes)
    try:
        _propagator().inject(carrier, trace.set_span_in_context(one))
        yield carrier
    finally:
        one.end()


@contextmanager
def tracing(url: str, percent: int, exporter: Any = None) -> Iterator[None]:
    """While it lasts, send spans to the collector at `url` (empty: none are made) or to `exporter`.

    Its end waits a moment for what is still to be sent. Raises ConfigError."""
    global _tracer
    if not url and exporter is None:
        yield
        return
    exporter = exporter or _otlp(url)
    provider = _provider(percent, exporter)
    _tracer = provider.get_tracer("gollem")
    try:
        yield
    finally:
        _tracer = None
        give_up = threading.Timer(_LAST_WORDS_S, exporter.shutdown)  # a collector that is away holds up no exit
        give_up.start()
        provider.shutdown()
        give_up.cancel()


@contextmanager
def _call(name: str, parent: object) -> Iterator[None]:
    from opentelemetry.trace import SpanKind

    context = _propagator().extract({PARENT: parent} if isinstance(parent, str) else {})
    with _tracer.start_as_current_span(name, context=context, kind=SpanKind.SERVER) as one:
        note(trace_id=f"{one.get_span_context().trace_id:032x}")
        yield


def _propagator() -> Any:
    """Of `traceparent` alone: baggage of a caller is not passed on to providers."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()


def _provider(percent: int, exporter: Any) -> Any:
    """Imported only where it is used: who traces nothing needs no vendor."""
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise _missing() from error
    resource = Resource.create({"service.name": "gollem-exchange"})
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(percent / 100)), resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUED, max_export_batch_size=512))
    return provider


def _otlp(url: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise _missing() from error
    return OTLPSpanExporter(endpoint=url, timeout=_EXPORT_S)


def _missing() -> ConfigError:
    return ConfigError("observability.otlp: needs the extra otel: pip install 'gollem[otel]'")
