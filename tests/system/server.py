"""`gollem serve` as a process of its own, started until it listens."""

import asyncio
import sys


async def start_server(*words: str) -> tuple[asyncio.subprocess.Process, int]:
    """With these options, and any free port for metrics, since several run on one machine.

    Returns the process and its gRPC port. Raises AssertionError, with its words, if it ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gollem", "serve", "--set", "server.metrics_port=0", *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    seen = b""
    while line := await process.stdout.readline():
        seen += line
        if line.startswith(b"listening on "):
            return process, int(line.rpartition(b":")[2])
    raise AssertionError(seen.decode())
