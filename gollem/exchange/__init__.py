"""The use cases. The only room that knows market, ledger and providers together."""

from gollem.exchange.accounts import Accounts
from gollem.exchange.asks import Answer, Asks, Status
from gollem.exchange.cases import Cases
from gollem.exchange.client_limits import ClientLimits
from gollem.exchange.commits import Commits
from gollem.exchange.floor import Floor
from gollem.exchange.leases import Leases
from gollem.exchange.links import AgentLinks
from gollem.exchange.orders import Orders
from gollem.exchange.recovery import restore_claims
from gollem.exchange.replica import Replica
from gollem.exchange.reports import Measurement, Reports
from gollem.exchange.settlement import Settlement
from gollem.exchange.tally import Tally
from gollem.exchange.types import (
    Cancelled,
    CancelState,
    ClientOutcome,
    Matched,
    Outcome,
    Receipt,
    Terms,
    Usage,
)
from gollem.exchange.waiting import WaitingRoom

__all__ = [
    "Accounts",
    "AgentLinks",
    "Answer",
    "Asks",
    "CancelState",
    "Cancelled",
    "Cases",
    "ClientLimits",
    "ClientOutcome",
    "Commits",
    "Floor",
    "Leases",
    "Matched",
    "Measurement",
    "Orders",
    "Outcome",
    "Receipt",
    "Replica",
    "Reports",
    "Settlement",
    "Status",
    "Tally",
    "Terms",
    "Usage",
    "WaitingRoom",
    "restore_claims",
]
