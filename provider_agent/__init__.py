"""Sells a model server on a GoLLeM exchange. Run it: `python -m provider_agent --help`."""

from provider_agent.agent import Agent
from provider_agent.options import Options

__all__ = ["Agent", "Options"]
