"""Our journal beside the payment provider's books: R5, R6, R8. What does not agree halts payouts, those of one
provider where it is about that provider alone (R8); spending goes on."""

import asyncio
from collections.abc import AsyncIterator

from gollem.clock import Clock
from gollem.ledger import Check, Ledger, Reconciler, Record, Result, records
from gollem.payments.binding import book_opening
from gollem.payments.day_report import DayReport, report_day
from gollem.payments.disputes import Disputes
from gollem.payments.gateway import PaymentGateway
from gollem.payments.in_books import described, kept_movement
from gollem.payments.movements import Movements, Place
from gollem.payments.payouts import Payouts
from gollem.payments.proofs import Proofs
from gollem.payments.purchases import Purchases
from gollem.payments.refunds import Refunds
from gollem.payments.types import Movement
from gollem.payments.watermark import Watermark
from gollem.units import format_usd

PAGE = 256
MAX_PAGES = 16  # of movements that are kept, in one go


class Books:
    """Lives on one event loop. Each check writes its result, and what it finds, as the ledger's own checks do."""

    def __init__(
        self,
        ledger: Ledger,
        gateway: PaymentGateway,
        purchases: Purchases,
        refunds: Refunds,
        disputes: Disputes,
        payouts: Payouts,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._clock = clock
        self._movements = Movements(ledger, gateway, purchases, refunds, disputes, payouts, clock)
        self._proofs = Proofs(ledger, gateway, payouts, clock)
        self._reconciler = Reconciler(ledger, clock)
        self._new = Watermark(ledger, clock, "movements", gateway.movements_since, self._take)
        self._turn = asyncio.Lock()
        self._looked_at = 0

    async def match_movements(self) -> Result:
        """R5: every movement that is new or was not explained yet has its transactions in the books, equal to the cent:
        missing ones are healed, or booked as unmatched with an alert. A bounded number each time."""
        async with self._turn:
            await self._match()
            result = Result(Check.MOVEMENTS, await self._differences(), self._looked_at, 0)
        await self._reconciler.record([result])
        return result

    async def prove_balance(self) -> Result | None:
        """R6: the balance there is what A:stripe says, to the cent. None if money never stood still for a look at both:
        then nothing is written, and the next time will tell."""
        async with self._turn:
            await book_opening(self._ledger, self._clock, self._fund_difference)
            result = await self._proofs.prove_funds(self._match, self._waiting_atoms)
        if result:
            await self._reconciler.record([result])
        return result

    async def _fund_difference(self) -> int | None:
        seen = await self._proofs.see_funds(self._match, self._waiting_atoms)
        return seen[0] - seen[1] - seen[2] if seen else None

    async def prove_connected(self) -> Result:
        """R8: what lies at each provider's own account, or is on its way to its bank, is what A:conn says."""
        result = await self._proofs.prove_connected()
        await self._reconciler.record([result])
        return result

    async def report(self, day: str) -> DayReport:
        """A UTC day (yyyymmdd) for a bookkeeper. Reads only. Raises InvalidField."""
        return await report_day(self._gateway, self._movements, self._clock, day)

    async def _match(self) -> bool:
        """Look at all that is kept, and at what is new. Returns whether all there is has been seen."""
        self._looked_at = 0
        for place in (Place.WAITING, Place.UNMATCHED, Place.DIFFERENT):
            async for record in self._kept(place):
                await self._take(kept_movement(record))
        await self._new.catch_up()
        return self._new.is_at_end

    async def _take(self, movement: Movement) -> bool:
        self._looked_at += 1
        return await self._movements.look_at(movement) is not Place.EXPLAINED

    async def _differences(self) -> list[str]:
        findings = []
        async for record in self._kept(Place.DIFFERENT):
            seen = await self._movements.read(kept_movement(record))
            if seen.difference_atoms:
                due, booked = format_usd(seen.due_atoms), format_usd(seen.booked_atoms)
                findings.append(f"{described(seen.movement)}: {due} USD moved, {booked} USD are booked")
        return findings

    async def _waiting_atoms(self) -> int:
        """What has moved and waits to be explained."""
        waiting = 0
        async for record in self._kept(Place.WAITING):
            waiting += (await self._movements.read(kept_movement(record))).difference_atoms
        return waiting

    async def _kept(self, place: Place) -> AsyncIterator[Record]:
        after = ""
        for _ in range(MAX_PAGES):
            page = await self._ledger.records(records.MOVEMENT, place, after, PAGE)
            for record in page:
                yield record
            if len(page) < PAGE:
                return
            after = page[-1].id
