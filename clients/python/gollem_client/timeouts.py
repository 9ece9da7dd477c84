"""How long the client waits for what."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Timeouts:
    """All in milliseconds, all above 0."""

    # TCP and TLS, to the exchange or to a provider.
    connect_ms: int = 5_000
    # One call to the exchange, its answer included.
    call_ms: int = 10_000
    # The same at the first of several exchanges, before the next one is asked.
    turn_ms: int = 2_000
    # From sending a request to its first chunk; a provider that takes longer has failed.
    first_chunk_ms: int = 30_000
    # Between two chunks.
    idle_ms: int = 30_000
    # For the receipt, once the answer is complete. The answer itself never waits for it.
    receipt_ms: int = 1_000

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) <= 0:
                raise ValueError(f"{each.name}: must be above 0")
