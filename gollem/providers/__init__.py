"""Who sells, and are they well: circuit breakers, rate limits, measured figures, silence. Pure: no I/O, no clock."""

from gollem.providers.circuit_breaker import CircuitState, CircuitStatus
from gollem.providers.measurement import Measured
from gollem.providers.rate_limit import RateStatus
from gollem.providers.registry import Change, Gauge, Promise, Reason, Registry, Seller, Statistics, What

__all__ = [
    "Change",
    "CircuitState",
    "CircuitStatus",
    "Gauge",
    "Measured",
    "Promise",
    "RateStatus",
    "Reason",
    "Registry",
    "Seller",
    "Statistics",
    "What",
]
