"""What a rejection of the book means for its caller: change a limit, or come again."""

from collections.abc import Mapping

from gollem.errors import CapacityExhausted, NoFeasibleAsk
from gollem.market import Rejection

# What keeps an ask from a bid only for a while.
_PASSING = frozenset({"capacity", "silent", "circuit_open", "rate_limited"})


def refusal(rejection: Rejection) -> NoFeasibleAsk | CapacityExhausted:
    """What a rejection means for the caller: change a limit, or come again."""
    figures: Mapping[str, object] = {
        "considered": rejection.considered,
        **{f"excluded_by.{limit}": count for limit, count in sorted(rejection.excluded_by.items())},
    }
    if rejection.full:
        return CapacityExhausted(
            f"{_who_meets(rejection.full)} free at this moment: try again soon",
            retryable="true",
            retry_after_ms=1_000,
            **figures,
        )
    if not rejection.considered:
        return NoFeasibleAsk("no provider offers this model now", retryable="true", **figures)
    return NoFeasibleAsk(
        _why_none(rejection),
        retryable="false" if not _PASSING & set(rejection.excluded_by) else "true",
        **figures,
    )


def _who_meets(full: int) -> str:
    return "one ask meets every limit, but is not" if full == 1 else f"{full} asks meet every limit, but none is"


def _why_none(rejection: Rejection) -> str:
    worst = max(rejection.excluded_by.items(), key=lambda item: item[1], default=("nothing", 0))
    if rejection.considered == 1:
        return f"the only ask does not meet every limit; {worst[0]} excludes it"
    return f"none of {rejection.considered} asks meets every limit; {worst[0]} excludes {worst[1]} of them"


def taken() -> CapacityExhausted:
    """Whatever fitted was taken by other nodes first, time and again."""
    return CapacityExhausted(
        "asks met every limit, but each was taken a moment before: try again soon",
        retryable="true",
        retry_after_ms=1_000,
    )
