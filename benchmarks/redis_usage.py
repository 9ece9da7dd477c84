"""What Redis has been asked to do, by its own count."""

from dataclasses import dataclass

import redis

from tests.servers.redis_server import RedisServer


@dataclass(frozen=True)
class Usage:
    """Of Redis: commands of clients, bytes either way, and its own CPU."""

    commands: int
    bytes: int
    cpu_s: float

    def since(self, earlier: "Usage") -> "Usage":
        return Usage(self.commands - earlier.commands, self.bytes - earlier.bytes, self.cpu_s - earlier.cpu_s)


def usage(server: RedisServer) -> Usage:
    with redis.Redis(port=server.port, protocol=2) as client:
        figures = client.info("all")
    calls = sum(stat["calls"] for name, stat in figures.items() if name in ("cmdstat_fcall", "cmdstat_xread"))
    moved = figures["total_net_input_bytes"] + figures["total_net_output_bytes"]
    return Usage(calls, moved, figures["used_cpu_user"] + figures["used_cpu_sys"])
