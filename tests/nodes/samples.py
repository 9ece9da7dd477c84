"""Asks, reports and claims for tests, and a listener that remembers."""

from collections.abc import Sequence, Set

from gollem.market import Ask
from gollem.nodes import Change, ClaimRequest, Heard, Placed
from gollem.providers import Gauge, Promise

MODEL = "a-model"


def an_ask(number: int = 1, model: str = MODEL, price_ticks: int = 100, slots: int = 2) -> Ask:
    return Ask(
        provider_id=f"provider-{number}",
        ask_id="ask",
        model=model,
        gpu_type="h100",
        price_ticks=price_ticks,
        completion_price_ticks=price_ticks,
        credit_rate_atoms=0,
        latency_us=200_000,
        tpot_ns=20_000_000,
        capacity_tokens=100_000,
        capacity_slots=slots,
        endpoint="grpc://127.0.0.1:1",
    )


def placed(number: int = 1, model: str = MODEL, price_ticks: int = 100) -> Placed:
    return Placed(an_ask(number, model, price_ticks), per_minute=None)


def heard(number: int = 1, sequence: int = 1, model: str = MODEL) -> Heard:
    promise = Promise(latency_us=100_000, tpot_ns=10_000_000, capacity_tokens=50_000, capacity_slots=2)
    gauge = Gauge(running=1, queued=0, gpus=(("gpu0", 90, 1 << 30, 80 << 30),))
    return Heard(an_ask(number).key, model, sequence, promise, gauge)


def a_claim(
    order_id: str, ask_key: str = "provider-1/ask", tokens: int = 10, lease_ms: int = 60_000, slots: int = 2
) -> ClaimRequest:
    return ClaimRequest(order_id, ask_key, MODEL, tokens, lease_ms, capacity_tokens=100, capacity_slots=slots)


class Recorder:
    """A Listener that keeps what it hears."""

    def __init__(self) -> None:
        self.batches: list[list[Change]] = []
        self.retained: list[tuple[int, Set[str]]] = []
        self.restored: list[int] = []

    @property
    def changes(self) -> list[Change]:
        return [change for batch in self.batches for change in batch]

    def prices(self) -> dict[str, int]:
        """By ask, as a book would have them."""
        return {change.ask_key: change.ask.price_ticks for change in self.changes if isinstance(change, Placed)}

    def apply(self, changes: Sequence[Change]) -> None:
        self.batches.append(list(changes))

    def retain(self, partition: int, ask_keys: Set[str]) -> None:
        self.retained.append((partition, ask_keys))

    def restore(self, partition: int) -> None:
        self.restored.append(partition)
