"""HTTP in front of the exchange: the configuration of Envoy, as a pure function of the settings."""

from gollem.gateway.bootstrap import bootstrap
from gollem.gateway.envoy import command

__all__ = ["bootstrap", "command"]
