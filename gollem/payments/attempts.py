"""Doing a thing at the payment provider exactly once, whatever becomes of the calls.

The intent is stored first, then the call is made under a key of the intent and its number, and the caller books the
result. Under one key the payment provider repeats its first answer, be it an internal error, for a day; after that the
same key would do the thing a second time. So:

    no answer                    look whether it was done; if it was not, the same key again
    an internal error            it may have been done: rest, look; if it was not, the next number
    a refusal                    it was not done: the next number, when somebody tries again
    the number is 20 hours old   look; if it was not done, the next number

What is not wanted any more can be called off, but not while a call may be on its way: a request that was sent and never
answered could still arrive. `call_off` waits until none can.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from gollem.clock import Clock
from gollem.errors import OutcomeUnknown, Overtaken, PaymentFault, PaymentRefused, WrongState
from gollem.ledger import Ledger, Record, records, rules

T = TypeVar("T")
KEY_LIFE_MS = 20 * 3_600_000  # the payment provider keeps keys for 24 hours at least
FAULT_REST_MS = 60_000  # what an internal error has left behind may take a moment to be seen
FLIGHT_MS = KEY_LIFE_MS + 3_600_000  # after this long, no server still makes or repeats a call under a number
CALLED_OFF = "CALLED_OFF"

LookUp = Callable[[], Awaitable[T | None]]
Act = Callable[[str], Awaitable[T]]  # takes the idempotency key


class Attempts:
    """Records of kind `attempt`: OPEN, REFUSED, FAULTED or CALLED_OFF, with the number of the key in use."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def carry_out(self, intent: str, look_up: LookUp[T], act: Act[T]) -> T:
        """What `intent` (a permanent name, such as `transfer.po-7`) comes to. Repeat until the result is booked.

        `look_up` finds what an earlier attempt did, None if nothing; `act` does it under a key. Raises what these
        raise, OutcomeUnknown for PaymentFault; WrongState if it was called off."""
        attempt, is_first = await self._begin(intent)
        if not is_first:
            done = await look_up()
            if done is not None:
                return done
            attempt = await self._renewed(attempt)
        if attempt.state == CALLED_OFF:
            raise WrongState(f"{intent} was called off", kind=records.ATTEMPT, id=intent, state=CALLED_OFF)
        try:
            return await act(f"{intent}:{attempt.number('number')}")
        except PaymentRefused:
            await self._change(attempt, "REFUSED", attempt.number("number"))
            raise
        except PaymentFault as error:
            await self._change(attempt, "FAULTED", attempt.number("number"))
            raise OutcomeUnknown(error.message, **error.figures) from error

    async def call_off(self, intent: str) -> bool:
        """Whether `intent` is called off: nobody makes a call for it from now on, and none can be on its way. What an
        earlier call did is there to be looked up. False while a call may be on its way: ask again later.

        It is certain because the record changes under a guard: whoever would begin, or take the next number, finds it
        changed and stops. And what goes on under the number in use is over. A refusal is what the same key answers to
        whoever still repeats it; without one, nobody repeats it after FLIGHT_MS, a broken proxy's requests included."""
        known = await self._ledger.find_record(records.ATTEMPT, intent)
        if known is None:
            now_ms = self._clock.now_ms()
            made = Record(records.ATTEMPT, intent, CALLED_OFF, {"number": 0, "at_ms": now_ms})
            await self._ledger.post(rules.noted(None, made, now_ms))
            known = await self._read(intent)
        elif known.state != CALLED_OFF and not self._may_be_under_way(known):
            known = await self._change(known, CALLED_OFF, known.number("number"))
        return known.state == CALLED_OFF

    async def is_refused(self, intent: str, within_ms: int) -> bool:
        """Whether the last call was refused, less than `within_ms` ago: too early to try again."""
        known = await self._ledger.find_record(records.ATTEMPT, intent)
        return known is not None and known.state == "REFUSED" and self._age_ms(known) < within_ms

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
        age_ms = self._age_ms(attempt)
        if attempt.state == "FAULTED" and age_ms < FAULT_REST_MS:
            raise OutcomeUnknown("the payment provider broke down a moment ago: repeat the same call in a minute")
        if attempt.state == CALLED_OFF or (attempt.state == "OPEN" and age_ms < KEY_LIFE_MS):
            return attempt
        return await self._change(attempt, "OPEN", attempt.number("number") + 1)

    def _may_be_under_way(self, attempt: Record) -> bool:
        return attempt.state != "REFUSED" and self._age_ms(attempt) < FLIGHT_MS

    def _age_ms(self, attempt: Record) -> int:
        return self._clock.now_ms() - attempt.number("at_ms")

    async def _change(self, attempt: Record, state: str, number: int) -> Record:
        """As it is now: if somebody else was faster, as they made it."""
        now_ms = self._clock.now_ms()
        changed = Record(attempt.kind, attempt.id, state, {"number": number, "at_ms": now_ms})
        with suppress(Overtaken):
            await self._ledger.post(rules.noted(attempt, changed, now_ms))
        return await self._read(attempt.id)

    async def _read(self, intent: str) -> Record:
        known = await self._ledger.find_record(records.ATTEMPT, intent)
        assert known is not None, "records are never removed"
        return known
