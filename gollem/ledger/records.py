"""What records there are: their kinds, and the states in which one waits for something.

Only those can be listed, so that a store keeps an index of what is under way and not of all that ever was.
"""

from collections.abc import Mapping

from gollem.errors import InvariantBroken

PURCHASE = "purchase"
REFUND = "refund"
PROVIDER = "provider"
PAYOUT = "payout"
DISPUTE = "dispute"
FREEZES = "freezes"  # one a user: FROZEN by the reasons it names, or ACTIVE; absent until there was one
INQUIRY = "inquiry"  # into a payment that may yet be disputed: OPEN or CLOSED
ADJUSTMENT = "adjustment"
ADJUSTED_DAY = "adjusted_day"  # how much was adjusted on a day
UNMATCHED = "unmatched"
ALERT = "alert"
ALERT_RULE = "alert_rule"  # which account is watched, its threshold, and whether its alert is still to come
RECONCILIATION = "reconciliation"  # the result of one check on one day
SEAL = "seal"  # of what the journal had at the end of a day
BREAKER = "breaker"  # HALTED or RUNNING; absent until it was first tripped: RUNNING
PAYOUTS = "payouts"  # the breaker of payouts
EVENT = "event"  # of the payment provider's: NEW, DONE, or DEAD once too many tries have failed
ATTEMPT = "attempt"  # at doing something at the payment provider: under which number, since when
MOVEMENT = "movement"  # at the payment provider, that nothing explains: WAITING, UNMATCHED, DIFFERENT, or EXPLAINED
WATERMARK = "watermark"  # up to when something at the payment provider has been read
GATEWAY = "gateway"  # whose money this ledger has, for ever: OPENING until the first comparison, then BOUND
BASKET = "basket"  # which purchases of a user may still be open
CUSTOMER = "customer"  # a user at the payment provider, and the card that is kept
TOP_UP = "top_up"  # when and by how much a user's credits are topped up by themselves: ON or OFF
ONBOARDING = "onboarding"  # where a provider wants to be paid, before it has an account: BEGUN or REFUSED
PAYABLE = "payable"  # since when a provider has had earnings that could be paid out
SPEND_LIMIT = "spend_limit"  # what a user may spend a day and a month, and what counts against it: ON or OFF
TOPPED_UP = "topped_up"  # how much of a user's was topped up in a month

_LISTED: Mapping[str, frozenset[str]] = {
    PURCHASE: frozenset({"CREATED"}),
    REFUND: frozenset({"INITIATED"}),
    PROVIDER: frozenset({"ENABLED", "DISABLED"}),
    PAYOUT: frozenset({"INITIATED", "TRANSFERRED", "FAILED"}),
    DISPUTE: frozenset({"WITHDRAWN"}),
    FREEZES: frozenset({"FROZEN"}),
    INQUIRY: frozenset({"OPEN"}),
    ADJUSTMENT: frozenset({"PROPOSED"}),
    UNMATCHED: frozenset({"OPEN"}),
    ALERT: frozenset({"OPEN"}),
    ALERT_RULE: frozenset({"ARMED", "FIRED"}),
    SEAL: frozenset({"SEALED"}),
    MOVEMENT: frozenset({"WAITING", "UNMATCHED", "DIFFERENT"}),
    EVENT: frozenset({"NEW", "DEAD"}),
    TOP_UP: frozenset({"ON"}),
}


def is_listed(kind: str, state: str) -> bool:
    """Whether `Ledger.records` lists records of the kind while they are in the state."""
    return state in _LISTED.get(kind, frozenset())


def require_listed(kind: str, state: str) -> None:
    """Raises InvariantBroken unless such records are listed."""
    if not is_listed(kind, state):
        raise InvariantBroken(f"records {kind} {state} are not listed")
