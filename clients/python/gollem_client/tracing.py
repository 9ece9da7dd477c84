"""Ties the caller's trace, if its program makes any, to what the exchange and the provider trace."""

import sys
from collections.abc import Mapping


def traced(metadata: Mapping[str, str]) -> dict[str, str]:
    """The same metadata, with the `traceparent` of the current span. Baggage is the program's own, and stays there."""
    carrier = dict(metadata)
    if "opentelemetry.trace" in sys.modules:  # a program that has not loaded it has no trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carrier)
    return carrier
