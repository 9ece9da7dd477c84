"""Spend limits: holds of users who have one are counted in the transaction that opens them.

Whether a user has a limit is asked of the ledger at most once a second, so that a limit which another server was told
takes effect here within that; from then on it is hard. Of one user's holds here one is written at a time, for each
changes the same record; other servers' are met with by reading again.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from gollem.clock import Clock, utc_day
from gollem.errors import GollemError, LedgerUnavailable, Overtaken, WorldError
from gollem.exchange.types import Terms
from gollem.ledger import Hold, Ledger, Posted, Record, records, rules

_log = logging.getLogger(__name__)
UNLIMITED_MS = 1_000
MAX_KNOWN = 10_000
MAX_UNUSED = 4_096
_ATTEMPTS = 16


@dataclass(frozen=True, slots=True)
class SpendLimit:
    """Atoms a day and a month, 0 for no limit; and what counts against them."""

    day_limit_atoms: int = 0
    month_limit_atoms: int = 0
    day_atoms: int = 0
    month_atoms: int = 0


@dataclass(frozen=True, slots=True)
class _Unused:
    hold: Hold
    atoms: int
    counted_on: str


class Spending:
    """Lives on one event loop."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._unlimited: OrderedDict[str, int] = OrderedDict()  # users, and until when that is believed
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._unused: deque[_Unused] = deque(maxlen=MAX_UNUSED)

    async def open(self, hold: Hold, fingerprint: str) -> Posted:
        """Post the hold, within the limits of its user. Raises SpendLimitReached, and what `Ledger.post` raises."""
        if await self._is_unlimited(hold.user):
            return await self._ledger.post(rules.hold(hold, fingerprint, self._clock.now_ms()))
        async with self._lock(hold.user):
            for _ in range(_ATTEMPTS):
                try:
                    return await self._open_counted(hold, fingerprint)
                except Overtaken:
                    continue  # another server was faster
        raise LedgerUnavailable("other servers spend under the same limit: repeat the call")

    async def set(self, user: str, day_limit_atoms: int | None, month_limit_atoms: int | None) -> SpendLimit:
        """0: no limit; None: as it is. Raises LedgerUnavailable if others change it all the time."""
        async with self._lock(user):
            for _ in range(_ATTEMPTS):
                known, now_ms = await self._find(user), self._clock.now_ms()
                limits = _limit(known, "day", day_limit_atoms), _limit(known, "month", month_limit_atoms)
                if known is None and not any(limits):
                    return SpendLimit()
                setting = rules.spend_limited(user, known, *limits, utc_day(now_ms), now_ms)
                try:
                    if not (await self._ledger.post(setting)).applied:
                        continue  # another server has set something else
                except Overtaken:
                    continue
                self._unlimited.pop(user, None)
                return await self.find(user)
        raise LedgerUnavailable("other servers spend under the same limit: repeat the call")

    async def find(self, user: str) -> SpendLimit:
        limit = await self._find(user)
        if limit is None or limit.state != "ON":
            return SpendLimit()
        now = rules.spent(limit, utc_day(self._clock.now_ms()))
        return SpendLimit(
            limit.number("day_limit_atoms"),
            limit.number("month_limit_atoms"),
            int(now["day_atoms"]),
            int(now["month_atoms"]),
        )

    def ended(self, hold: Hold, charged_atoms: int) -> None:
        """The order is over. What it left is given back beside; when too many wait, it goes on counting."""
        counted_on = Terms.from_text(hold.terms).counted_on
        if counted_on and charged_atoms < hold.amount_atoms:
            self._unused.append(_Unused(hold, hold.amount_atoms - charged_atoms, counted_on))

    async def give_back(self) -> int:
        """Take out of the counts what orders left. Returns of how many.

        What cannot be taken out now is left for the next time; what is refused, or still waits when this process ends,
        counts until its day and its month are over."""
        given = 0
        for _ in range(len(self._unused)):
            left = self._unused.popleft()
            try:
                given += await self._give_back(left)
            except WorldError:
                self._unused.append(left)
                break
            except GollemError as error:
                _log.warning("what an order left goes on counting against its user's limit: %s", error.reason)
        return given

    async def _open_counted(self, hold: Hold, fingerprint: str) -> Posted:
        limit, now_ms = await self._find(hold.user), self._clock.now_ms()
        if limit is None or limit.state != "ON":
            return await self._ledger.post(rules.hold(hold, fingerprint, now_ms))
        today = str(rules.spent(limit, utc_day(now_ms))["day"])
        terms = replace(Terms.from_text(hold.terms), counted_on=today)
        opening = rules.hold(hold.with_terms(terms.to_text()), fingerprint, now_ms)
        return await self._ledger.post(rules.counted(opening, limit, hold.amount_atoms, today))

    async def _give_back(self, left: _Unused) -> bool:
        async with self._lock(left.hold.user):
            for _ in range(_ATTEMPTS):
                limit = await self._find(left.hold.user)
                if limit is None or limit.state != "ON":
                    return False
                now_ms = self._clock.now_ms()
                try:
                    taken_out = rules.uncounted(limit, left.hold, left.atoms, left.counted_on, now_ms)
                    return (await self._ledger.post(taken_out)).applied
                except Overtaken:
                    continue
        raise LedgerUnavailable("other servers spend under the same limit")

    async def _is_unlimited(self, user: str) -> bool:
        now_ms = self._clock.monotonic_ms()
        if self._unlimited.get(user, 0) > now_ms:
            return True
        limit = await self._find(user)
        if limit is not None and limit.state == "ON":
            self._unlimited.pop(user, None)
            return False
        self._unlimited[user] = now_ms + UNLIMITED_MS
        self._unlimited.move_to_end(user)
        if len(self._unlimited) > MAX_KNOWN:
            self._unlimited.popitem(last=False)
        return True

    def _lock(self, user: str) -> asyncio.Lock:
        lock = self._locks.get(user)
        if lock is None:
            lock = self._locks[user] = asyncio.Lock()
        return lock

    async def _find(self, user: str) -> Record | None:
        return await self._ledger.find_record(records.SPEND_LIMIT, user)


def _limit(known: Record | None, period: str, atoms: int | None) -> int:
    """What is set, or else what it is."""
    if atoms is None:
        return known.number(f"{period}_limit_atoms") if known else 0
    return atoms
