"""Ties the caller's trace, if its program makes any, to what the exchange and the provider trace."""

from collections.abc import Mapping

try:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:  # a program without OpenTelemetry has no trace
    _propagator = None
else:
    _propagator = TraceContextTextMapPropagator()


def traced(metadata: Mapping[str, str]) -> dict[str, str]:
    """The same metadata, with the `traceparent` of the current span. Baggage is the program's own, and stays there."""
    carrier = dict(metadata)
    if _propagator is not None:
        _propagator.inject(carrier)
    return carrier
