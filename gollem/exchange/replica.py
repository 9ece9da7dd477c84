"""This node's book as a copy of the one that all nodes share: takes in what the others announce."""

import logging
from collections.abc import Sequence, Set

from gollem.errors import InvalidField, UnknownModel
from gollem.exchange.client_limits import ClientLimits
from gollem.exchange.floor import Floor
from gollem.exchange.leases import Leases
from gollem.exchange.links import AgentLinks
from gollem.exchange.reports import Reports
from gollem.nodes import Began, CancelAsked, Change, Contested, Ended, SharedBook, Spent

_log = logging.getLogger(__name__)


class Replica:
    """The Listener of a SharedBook."""

    def __init__(
        self,
        floor: Floor,
        links: AgentLinks,
        leases: Leases,
        reports: Reports,
        limits: ClientLimits,
        shared: SharedBook,
    ) -> None:
        self._reports = reports
        self._limits = limits
        self._floor = floor
        self._links = links
        self._leases = leases
        self._shared = shared

    def apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            try:
                self._take_in(change)
            except (UnknownModel, InvalidField) as error:
                # That node has another catalogue, or another release.
                _log.debug("an ask of another node has no place here: %s", error)

    def retain(self, partition: int, ask_keys: Set[str]) -> None:
        for ask in self._floor.foreign():
            if ask.key not in ask_keys and self._shared.partition_of(ask.model) == partition:
                self._floor.drop(ask.key)

    def restore(self, partition: int) -> None:
        self._leases.lost(partition)

    def _take_in(self, change: Change) -> None:
        match change:
            case CancelAsked():
                self._links.asked_to_cancel(change.ask_key, change.order_id)
            case Contested():
                self._reports.take_in(change)
            case Spent():
                self._limits.take_in(change)
            case _:
                self._take_into_book(change)

    def _take_into_book(self, change: Change) -> None:
        self._floor.take_in(change)
        if isinstance(change, Ended):
            self._links.order_closed(change.order_id)
        elif isinstance(change, Began) and (claim := self._floor.claim(change.order_id)) and claim.started:
            self._links.order_started(change.order_id)
