"""Traces of what the agent does for an order, by OpenTelemetry; off unless `--otlp` names a collector.

A consumer's `traceparent` ties them to its own trace. Nothing of a prompt or an answer is told.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from gollem_client.tracing import traced

PARENT = "traceparent"
QUEUED = 2_048
_EXPORT_S = 5
_LAST_WORDS_S = 2.0
_OFF: AbstractContextManager[Any] = nullcontext()
_tracer: Any = None


class NoTracing(Exception):
    """OpenTelemetry is not installed."""


def span(name: str, parent: object = None, **attributes: str | int) -> AbstractContextManager[Any]:
    """A part of what is being done; under `parent`, a `traceparent`, if that is given. Of coroutines only."""
    if _tracer is None:
        return _OFF
    context = None
    if isinstance(parent, str) and parent:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract({PARENT: parent})
    started: AbstractContextManager[Any] = _tracer.start_as_current_span(name, context=context, attributes=attributes)
    return started


def parent() -> str:
    """The `traceparent` of what is being done here; empty without a trace."""
    return traced({}).get(PARENT, "") if _tracer is not None else ""


@contextmanager
def tracing(url: str, exporter: Any = None) -> Iterator[None]:
    """While it lasts, send spans to the collector at `url` (empty: none are made) or to `exporter`.

    Its end waits a moment for what is still to be sent. Raises NoTracing."""
    global _tracer
    if not url and exporter is None:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise NoTracing("--otlp: needs OpenTelemetry: pip install 'gollem[otel]'") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "gollem-agent"}))
    exporter = exporter or OTLPSpanExporter(endpoint=url, timeout=_EXPORT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUED, max_export_batch_size=512))
    _tracer = provider.get_tracer("provider_agent")
    try:
        yield
    finally:
        _tracer = None
        give_up = threading.Timer(_LAST_WORDS_S, exporter.shutdown)  # a collector that is away holds up no exit
        give_up.start()
        provider.shutdown()
        give_up.cancel()
