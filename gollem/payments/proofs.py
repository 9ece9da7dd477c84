"""Two balances at the payment provider beside ours: the platform's (R6), and each provider's own account (R8).

What differs at a provider's account is about this provider alone: it is not paid (`held_by` of its record) until the
two agree again, or an operator has closed the alert of just this difference.

Money moves while it is counted, so a difference is one only if nothing moved in between, and if all that happened there
has been booked first: what is late is healed and raises no alarm.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from gollem.clock import Clock
from gollem.errors import PaymentRefused
from gollem.ledger import Check, Ledger, Record, Result, accounts, records
from gollem.payments.alerts import raise_alert
from gollem.payments.gateway import PaymentGateway
from gollem.payments.payees import find_payee, note_account, note_gone
from gollem.payments.payouts import Payouts
from gollem.units import ATOMS_PER_CENT, format_usd

LOOKS = 4  # at what may be moving
HOUR_MS = 3_600_000
RECENT_MS = 30 * 86_400_000
RECENT_PAYOUTS = 8  # of a provider
PAGE = 256
MAX_PAGES = 64  # of providers
HELD = "its account and our books differ"


class _Difference(NamedTuple):
    """`name` is one for as long as it stays the same."""

    name: str
    text: str


class Proofs:
    def __init__(self, ledger: Ledger, gateway: PaymentGateway, payouts: Payouts, clock: Clock) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._payouts = payouts
        self._clock = clock

    # --- R6

    async def prove_funds(
        self, match: Callable[[], Awaitable[bool]], waiting_atoms: Callable[[], Awaitable[int]]
    ) -> Result | None:
        """`match` explains all movements and says whether there are no more; `waiting_atoms` is what it could not yet.
        None if something moved during every look."""
        seen = await self.see_funds(match, waiting_atoms)
        return Result(Check.FUNDS, _fund_findings(*seen), 0, 1) if seen else None

    async def see_funds(
        self, match: Callable[[], Awaitable[bool]], waiting_atoms: Callable[[], Awaitable[int]]
    ) -> tuple[int, int, int] | None:
        """What is there, what is booked, and what waits to be explained, all at one moment."""
        for _ in range(LOOKS):
            newest = await self._newest_movement()
            if not await match():
                continue
            booked, waiting = await self._booked_atoms(), await waiting_atoms()
            funds_atoms = (await self._gateway.funds()).cents * ATOMS_PER_CENT
            if (booked, newest) == (await self._booked_atoms(), await self._newest_movement()):
                return funds_atoms, booked, waiting
        return None

    async def _booked_atoms(self) -> int:
        return -await self._ledger.account_atoms(accounts.STRIPE)

    async def _newest_movement(self) -> str:
        """Of the last hour: whatever moves while we look is."""
        page = await self._gateway.movements_since(self._clock.now_ms() - HOUR_MS)
        return page.items[0].txn_id if page.items else ""

    # --- R8

    async def prove_connected(self) -> Result:
        """Of all providers that have an account, a bounded number."""
        findings, count = list[str](), 0
        async for payee in self._payees():
            count += 1
            finding = await self._prove_payee(payee)
            findings += [finding] if finding else []
        return Result(Check.CONNECTED, findings, 0, count)

    async def _prove_payee(self, payee: Record) -> str:
        """What does not agree, empty if all does; the provider is held, or let go."""
        found = await self._lasting_difference(payee)
        if found and await self._is_accepted(payee, found):
            found = None
        if found:
            await raise_alert(self._ledger, self._clock, _alert_id(payee, found), f"provider {payee.id}", found.text)
        if found or payee.text("held_by"):
            await self._hold(payee.id, HELD if found else "")
        return found.text if found else ""

    async def _is_accepted(self, payee: Record, found: _Difference) -> bool:
        alert = await self._ledger.find_record(records.ALERT, _alert_id(payee, found))
        return alert is not None and alert.state == "CLOSED"

    async def _hold(self, provider: str, held_by: str) -> None:
        payee = await find_payee(self._ledger, provider)
        if payee is None:
            return
        with suppress(PaymentRefused):  # the platform itself is refused: that is no provider's fault
            account = await self._gateway.account(payee.text("connected_id"))
            if account is None:
                await note_gone(self._ledger, self._clock, payee, held_by)
            else:
                await note_account(self._ledger, self._clock, account, held_by)

    async def _lasting_difference(self, payee: Record) -> _Difference | None:
        """None also if money is moving all the time. A difference that stays the same after all that happened has been
        booked is one; so is an account that cannot be read, unless it is gone and has nothing by our books."""
        connected_id = payee.text("connected_id")
        try:
            difference = await self._difference_atoms(payee)
            for _ in range(LOOKS):
                if not difference:
                    return None
                await self._heal(payee.id)
                before, difference = difference, await self._difference_atoms(payee)
                if difference == before:
                    text = f"{payee.id}: {connected_id} has {format_usd(difference)} USD more than A:conn"
                    return _Difference(str(difference), text)
        except PaymentRefused as error:
            if not await self._is_empty_and_gone(payee):
                return _Difference("unreadable", f"{payee.id}: {connected_id} cannot be read: {error}")
        return None

    async def _is_empty_and_gone(self, payee: Record) -> bool:
        if await self._ledger.account_atoms(accounts.connected_account(payee.id)):
            return False
        with suppress(PaymentRefused):
            return await self._gateway.account(payee.text("connected_id")) is None
        return False

    async def _difference_atoms(self, payee: Record) -> int:
        """What is there, and on its way from there, beyond what our books say."""
        connected_id = payee.text("connected_id")
        booked_atoms = -await self._ledger.account_atoms(accounts.connected_account(payee.id))
        funds = await self._gateway.funds(connected_id)
        under_way = await self._gateway.bank_payouts_under_way(connected_id)
        cents = funds.cents + sum(payout.cents for payout in under_way)
        return cents * ATOMS_PER_CENT - booked_atoms

    async def _heal(self, provider: str) -> None:
        """Book what has come to its account, and what has gone to its bank or come back from there."""
        payee = await find_payee(self._ledger, provider)
        if payee is None:
            return
        await self._heal_transfers(payee)
        await self._payouts.refresh_bank_payouts(payee)

    async def _heal_transfers(self, payee: Record) -> None:
        """One payout is on its way to the account at most; those before it are looked at for what was reversed."""
        payout_id = payee.text("last_payout")
        for _ in range(RECENT_PAYOUTS):
            payout = await self._ledger.find_record(records.PAYOUT, payout_id) if payout_id else None
            if payout is None or self._clock.now_ms() - payout.number("at_ms") > RECENT_MS:
                return
            transfer = await self._gateway.find_transfer(payout.id)
            if transfer is not None:
                await self._payouts.refresh_transfer(transfer.transfer_id)
            payout_id = payout.text("before")

    async def _payees(self) -> AsyncIterator[Record]:
        """Each once, though it may be held meanwhile, or let go."""
        seen = set[str]()
        for state in ("ENABLED", "DISABLED"):
            after = ""
            for _ in range(MAX_PAGES):
                page = await self._ledger.records(records.PROVIDER, state, after, PAGE)
                for payee in page:
                    if payee.id not in seen:
                        seen.add(payee.id)
                        yield payee
                if len(page) < PAGE:
                    break
                after = page[-1].id


def _alert_id(payee: Record, found: _Difference) -> str:
    return f"connected:{payee.id}:{payee.text('connected_id')}:{found.name}"


def _fund_findings(funds_atoms: int, booked_atoms: int, waiting_atoms: int) -> list[str]:
    if funds_atoms == booked_atoms + waiting_atoms:
        return []
    funds, booked, waiting = map(format_usd, (funds_atoms, booked_atoms, waiting_atoms))
    return [f"the payment provider has {funds} USD, A:stripe says {booked} USD, {waiting} USD wait to be explained"]
