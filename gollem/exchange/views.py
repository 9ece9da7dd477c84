"""What people look at, put together: the tape, providers' chances, what was spent, the whole exchange on one page."""

from dataclasses import dataclass

from gollem.exchange.chances import Advice
from gollem.exchange.overview import Overview
from gollem.exchange.spend_report import SpendReport
from gollem.exchange.tape import Tape


@dataclass(frozen=True, slots=True)
class Views:
    tape: Tape
    advice: Advice
    spend_report: SpendReport
    overview: Overview
