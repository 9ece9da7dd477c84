"""The Python client of the GoLLeM exchange: match, stream, receipt."""

from gollem_client import errors, stubs
from gollem_client.channels import ChannelPool
from gollem_client.client import GollemClient
from gollem_client.errors import GollemError
from gollem_client.exchange import Exchange
from gollem_client.prompts import estimate_prompt_tokens
from gollem_client.timeouts import Timeouts

__all__ = [
    "ChannelPool",
    "Exchange",
    "GollemClient",
    "GollemError",
    "Timeouts",
    "errors",
    "estimate_prompt_tokens",
    "stubs",
]
