"""The use cases. The only room that knows market, ledger and providers together."""

from gollem.exchange.accounts import Accounts
from gollem.exchange.asks import Answer, Asks, Status
from gollem.exchange.cases import Cases
from gollem.exchange.chances import Advice, Loss, Outlook
from gollem.exchange.client_limits import ClientLimits
from gollem.exchange.commits import Commits
from gollem.exchange.floor import Floor
from gollem.exchange.leases import Leases
from gollem.exchange.links import AgentLinks
from gollem.exchange.orders import Orders
from gollem.exchange.overview import Overview
from gollem.exchange.recovery import restore_claims
from gollem.exchange.replica import Replica
from gollem.exchange.reports import Measurement, Reports
from gollem.exchange.settlement import Settlement
from gollem.exchange.spend_report import DaySpend, SpendReport
from gollem.exchange.spending import Spending, SpendLimit
from gollem.exchange.tally import Tally
from gollem.exchange.tape import BidTally, Tape, Trade
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
from gollem.exchange.views import Views
from gollem.exchange.waiting import WaitingRoom

__all__ = [
    "Accounts",
    "Advice",
    "AgentLinks",
    "Answer",
    "Asks",
    "BidTally",
    "CancelState",
    "Cancelled",
    "Cases",
    "ClientLimits",
    "ClientOutcome",
    "Commits",
    "DaySpend",
    "Floor",
    "Leases",
    "Loss",
    "Matched",
    "Measurement",
    "Orders",
    "Outcome",
    "Outlook",
    "Overview",
    "Receipt",
    "Replica",
    "Reports",
    "Settlement",
    "SpendLimit",
    "SpendReport",
    "Spending",
    "Status",
    "Tally",
    "Tape",
    "Terms",
    "Trade",
    "Usage",
    "Views",
    "WaitingRoom",
    "restore_claims",
]
