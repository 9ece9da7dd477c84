"""Reconciliation: checks that prove the books by turns. Each writes its result; a break raises an alert and halts
payouts. Nothing here ever corrects anything: people do, with an adjustment.

A check that cannot be made proves nothing, which is a break too.

Spending goes on through a break: what a user has is guarded by every transaction itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from gollem.clock import DAY_MS, Clock, utc_day
from gollem.errors import GollemError, LedgerUnavailable, Overtaken, WorldError
from gollem.ledger import records, rules, seals
from gollem.ledger.interface import Ledger
from gollem.ledger.rules.oversight import MAX_MESSAGE_CHARS, Change
from gollem.ledger.types import OF_PAYMENTS, AuditReport, Check, Finding, Record

_log = logging.getLogger(__name__)

QUICK = frozenset({Check.TRIAL_BALANCE, Check.HOLDS})  # need no journal
DEEP = QUICK | {Check.TRANSACTIONS, Check.BALANCES}
EVERY = frozenset(Check) - OF_PAYMENTS
_ATTEMPTS = 8
_MAX_OVERDUE = 256
_Look = Callable[[], Awaitable[AuditReport]]


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found, and how much it read."""

    check: Check
    findings: Sequence[str]
    transactions: int
    accounts: int

    @property
    def ok(self) -> bool:
        return not self.findings


class Reconciler:
    """`grace_ms`: how long after its deadline a hold may still be open. `seal_copy`: a file outside of the data folder
    for copies of the seals. `sealed_days`: of how many past days the entries are read again, the last ones."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        grace_ms: int = 60_000,
        seal_copy: Path | None = None,
        sealed_days: int = 7,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._grace_ms = grace_ms
        self._seal_copy = seal_copy
        self._sealed_days = sealed_days

    async def look(self, checks: frozenset[Check] = EVERY) -> list[Result]:
        """Read only."""
        of_audit = checks - {Check.SEALS}
        looks: list[tuple[frozenset[Check], _Look]] = []
        if of_audit:
            looks.append((of_audit, lambda: self._ledger.audit(of_audit)))
        if Check.HOLDS in checks:
            looks.append((frozenset({Check.HOLDS}), self._overdue))
        if Check.SEALS in checks:
            looks.append((frozenset({Check.SEALS}), self._broken_seals))
        reports = [await _made(of, look) for of, look in looks]
        found = [one for report in reports for one in report.found]
        transactions, accounts = reports[0].transactions, reports[0].accounts
        return [
            Result(check, [one.text for one in found if one.check is check], transactions, accounts)
            for check in sorted(checks)
        ]

    async def run(self, checks: frozenset[Check] = EVERY) -> list[Result]:
        """Look, write the results, and act on what is broken."""
        results = await self.look(checks)
        await self.record(results)
        return results

    async def record(self, results: Sequence[Result]) -> None:
        """Write what was found, here or by whoever else checks the books, and act on what is broken."""
        for result in results:
            for text in result.findings:
                _log.error("reconciliation %s: %s", result.check, text)
        await self._write(results)

    async def run_quick(self) -> list[Result]:
        """The trial balance and what is held: needs no journal."""
        return await self.run(QUICK)

    async def run_deep(self) -> list[Result]:
        """All that the books prove by themselves."""
        return await self.run(DEEP)

    async def seal(self) -> Record | None:
        """Once a UTC day, for the day before: prove the seals, then seal what was written since the last one. None if
        that is done. Each time, the copy gets what it lacks."""
        now_ms = self._clock.now_ms()
        day = utc_day(now_ms - DAY_MS)
        known = await seals.all_seals(self._ledger)
        await self._complete_copy(known)
        if known and known[-1].id >= day:
            return None
        await self.run(frozenset({Check.SEALS}))
        until = await self._ledger.settled_sequence()
        made = await seals.seal_day(self._ledger, day, known[-1] if known else None, until, now_ms)
        posted = await self._ledger.post(rules.reconciled(f"seal:{day}", [(None, made)], (), now_ms))
        if not posted.applied:
            return None
        await self._complete_copy([*known, made])
        return made

    async def _complete_copy(self, known: list[Record]) -> None:
        """A copy that cannot be written stops no seal: what it lacks is a finding on the second day."""
        if self._seal_copy is None:
            return
        try:
            added = await asyncio.to_thread(seals.complete_copy, self._seal_copy, known)
        except OSError as error:
            _log.error("the seals cannot be copied: %s", error)
            return
        if len(added) > 1:
            _log.warning("%s lacked the seals %s to %s", self._seal_copy, added[0].id, added[-1].id)

    async def _broken_seals(self) -> AuditReport:
        known = await seals.all_seals(self._ledger)
        copies = seals.read_copies(self._seal_copy) if self._seal_copy else None
        return AuditReport(0, 0, await seals.verify(self._ledger, known, copies, self._sealed_days))

    async def _overdue(self) -> AuditReport:
        """Those that are still there when looked at again: the sweep may be at them."""
        before_ms = self._clock.now_ms() - self._grace_ms
        held = await self._ledger.expired_holds(before_ms, _MAX_OVERDUE)
        found = [
            Finding(
                Check.HOLDS,
                f"H:{hold.order_id}: open {self._clock.now_ms() - hold.expires_at_ms} ms past its deadline",
            )
            for hold in held
        ]
        return AuditReport(0, 0, found)

    async def _write(self, results: Sequence[Result]) -> None:
        """In one transaction. Another server may be writing its own results: then what is there is read again."""
        run_id = token_hex(8)
        for _ in range(_ATTEMPTS):
            now_ms = self._clock.now_ms()
            changes, alerts = list[Change](), list[Record]()
            for result in results:
                change = await self._change(result, now_ms)
                changes.append(change)
                if _is_for_all(result) and (change[0] is None or change[0].state == "OK"):
                    alerts.append(_alert(result, change[1], now_ms))
            changes += await self._breaker([result for result in results if _is_for_all(result)], now_ms)
            try:
                await self._ledger.post(rules.reconciled(run_id, changes, alerts, now_ms))
            except Overtaken:
                continue
            return
        raise LedgerUnavailable("the results of reconciliation could not be written: others write them too")

    async def _change(self, result: Result, now_ms: int) -> Change:
        """One record a check and day."""
        name = f"{utc_day(now_ms)}:{result.check}"
        old = await self._ledger.find_record(records.RECONCILIATION, name)
        fields: dict[str, str | int] = {
            "version": old.number("version") + 1 if old else 0,
            "at_ms": now_ms,
            "transactions": result.transactions,
            "accounts": result.accounts,
            "findings": len(result.findings),
            "first_finding": result.findings[0][:MAX_MESSAGE_CHARS] if result.findings else "",
        }
        return old, Record(records.RECONCILIATION, name, "OK" if result.ok else "BROKEN", fields)

    async def _breaker(self, broken: list[Result], now_ms: int) -> list[Change]:
        """Halt payouts, unless they are halted already."""
        if not broken:
            return []
        old = await self._ledger.find_record(records.BREAKER, records.PAYOUTS)
        if old and old.state == "HALTED":
            return []
        reason = f"{broken[0].check}: {broken[0].findings[0]}"[:MAX_MESSAGE_CHARS]
        fields: dict[str, str | int] = {
            "version": old.number("version") + 1 if old else 0,
            "at_ms": now_ms,
            "reason": reason,
        }
        _log.error("payouts are halted: %s", reason)
        return [(old, Record(records.BREAKER, records.PAYOUTS, "HALTED", fields))]


async def _made(checks: frozenset[Check], look: _Look) -> AuditReport:
    """What the look finds; what kept it from being made, if it cannot be. A store that did not answer is asked again
    once: that passes, and is no break."""
    try:
        try:
            return await look()
        except WorldError:
            return await look()
    except Exception as error:
        is_known = isinstance(error, GollemError)  # then it says what is wrong, and where it came up tells nothing more
        text = f"could not be made: {error if is_known else repr(error)}"
        _log.error("reconciliation %s %s", ", ".join(sorted(checks)), text, exc_info=None if is_known else error)
        return AuditReport(0, 0, [Finding(check, text) for check in sorted(checks)])


def _is_for_all(result: Result) -> bool:
    """Whether it broke, and somebody has to look before anybody is paid. What R8 finds is about one provider each: who
    proves it keeps back that provider, and tells."""
    return not result.ok and result.check is not Check.CONNECTED


def _alert(result: Result, record: Record, now_ms: int) -> Record:
    message = f"{len(result.findings)} finding{'s' * (len(result.findings) > 1)}: {result.findings[0]}"
    return rules.alert(f"{record.id}:{record.number('version')}", f"reconciliation {result.check}", message, now_ms)
