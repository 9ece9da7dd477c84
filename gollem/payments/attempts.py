"""Doing a thing at the payment provider exactly once, whatever becomes of the calls.

The intent is stored first, then the call is made under a key of the intent and its number, and the caller books the
result. Under one key the payment provider repeats its first answer, be it an internal error, for a day; after that the
same key would do the thing a second time. So:

    no answer                    look whether it was done; if it was not, the same key again
    an internal error            it may have been done: rest, look; if it was not, the next number
    a refusal                    it was not done: the next number, when somebody tries again
    the number is 20 hours old   look; if it was not done, the next number
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from gollem.clock import Clock
from gollem.errors import OutcomeUnknown, PaymentFault, PaymentRefused, StaleRead, WrongState
from gollem.ledger import Ledger, Record, records, rules

T = TypeVar("T")
KEY_LIFE_MS = 20 * 3_600_000  # the payment provider keeps keys for 24 hours at least
FAULT_REST_MS = 60_000  # what an internal error has left behind may take a moment to be seen

LookUp = Callable[[], Awaitable[T | None]]
Act = Callable[[str], Awaitable[T]]  # takes the idempotency key


class Attempts:
    """Records of kind `attempt`: OPEN, REFUSED or FAULTED, with the number of the key in use."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def carry_out(self, intent: str, look_up: LookUp[T], act: Act[T]) -> T:
        """What `intent` (a permanent name, such as `transfer.po-7`) comes to. Repeat until the result is booked.

        `look_up` finds what an earlier attempt did, None if nothing; `act` does it under a key. Raises what these
        raise, OutcomeUnknown for PaymentFault."""
        attempt, is_first = await self._begin(intent)
        if not is_first:
            done = await look_up()
            if done is not None:
                return done
            attempt = await self._renewed(attempt)
        try:
            return await act(f"{intent}:{attempt.number('number')}")
        except PaymentRefused:
            await self._change(attempt, "REFUSED", attempt.number("number"))
            raise
        except PaymentFault as error:
            await self._change(attempt, "FAULTED", attempt.number("number"))
            raise OutcomeUnknown(error.message, **error.figures) from error

    async def _begin(self, intent: str) -> tuple[Record, bool]:
        """The attempt, and whether it is this call that began it."""
        known = await self._ledger.find_record(records.ATTEMPT, intent)
        if known is not None:
            return known, False
        now_ms = self._clock.now_ms()
        made = Record(records.ATTEMPT, intent, "OPEN", {"number": 0, "at_ms": now_ms})
        applied = (await self._ledger.post(rules.noted(None, made, now_ms))).applied
        return await self._read(intent), applied

    async def _renewed(self, attempt: Record) -> Record:
        """With another number, if its key cannot do the thing any more, or could do it twice."""
        age_ms = self._clock.now_ms() - attempt.number("at_ms")
        if attempt.state == "FAULTED" and age_ms < FAULT_REST_MS:
            raise OutcomeUnknown("the payment provider broke down a moment ago: repeat the same call in a minute")
        if attempt.state == "OPEN" and age_ms < KEY_LIFE_MS:
            return attempt
        return await self._change(attempt, "OPEN", attempt.number("number") + 1)

    async def _change(self, attempt: Record, state: str, number: int) -> Record:
        """As it is now: if somebody else was faster, as they made it."""
        now_ms = self._clock.now_ms()
        changed = Record(attempt.kind, attempt.id, state, {"number": number, "at_ms": now_ms})
        with suppress(StaleRead, WrongState):
            await self._ledger.post(rules.noted(attempt, changed, now_ms))
        return await self._read(attempt.id)

    async def _read(self, intent: str) -> Record:
        known = await self._ledger.find_record(records.ATTEMPT, intent)
        assert known is not None, "records are never removed"
        return known
