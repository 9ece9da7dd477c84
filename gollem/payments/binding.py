"""One ledger has the money of one payment provider in one mode, for ever: play money must not be spent as real.

The first start writes down which; another is refused. What lay at the payment provider before the first comparison of
the books is booked once as an opening balance, against the platform's bank.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from gollem.clock import Clock
from gollem.config import ConfigError
from gollem.errors import KeyReused, Overtaken
from gollem.ledger import Ledger, Record, records, rules
from gollem.payments.alerts import raise_alert
from gollem.payments.gateway import PaymentGateway
from gollem.units import format_usd

_ID = "payments"
_OPENING = "opening"  # in the place of a movement's id: its entry is `stripe:opening`

Difference = Callable[[], Awaitable[int | None]]


async def bind(ledger: Ledger, clock: Clock, name: str, gateway: PaymentGateway) -> None:
    """The ledger is that gateway's from now on. Raises ConfigError if it is another's."""
    mode = "live" if gateway.livemode else "test"
    known = await ledger.find_record(records.GATEWAY, _ID)
    if known is None:
        compared = await ledger.find_record(records.WATERMARK, "movements")
        new = Record(records.GATEWAY, _ID, "BOUND" if compared else "OPENING", {"name": name, "mode": mode})
        await ledger.post(rules.noted(None, new, clock.now_ms()))
        known = await ledger.find_record(records.GATEWAY, _ID)
        assert known is not None, "it was just written, by us or by somebody faster"
    if (known.text("name"), known.text("mode")) != (name, mode):
        raise ConfigError(
            f"payments.gateway: this ledger has money of {_words(known.text('name'), known.text('mode'))}, "
            f"not of {_words(name, mode)}: use another data folder, or another ledger"
        )


async def book_opening(ledger: Ledger, clock: Clock, difference: Difference) -> None:
    """Once for a ledger, at its first comparison: what is there and no movement explains. `difference` is None while
    money moves: then the next comparison does it."""
    known = await ledger.find_record(records.GATEWAY, _ID)
    if known is None or known.state != "OPENING":
        return
    if await ledger.find_entry(f"stripe:{_OPENING}") is None:
        atoms = await difference()
        if atoms is None:
            return
        if atoms:
            await _book(ledger, clock, atoms)
    with suppress(Overtaken):  # somebody else was faster
        await ledger.post(rules.noted(known, Record(known.kind, known.id, "BOUND", known.fields), clock.now_ms()))


async def _book(ledger: Ledger, clock: Clock, atoms: int) -> None:
    """As if the platform had brought it from its bank, or taken it there; and somebody is told. The alert comes first:
    after a crash in between it is there, and the entry follows."""
    message = (
        f"{format_usd(atoms)} USD were there before the first comparison: booked from A:bank as an opening balance"
    )
    await raise_alert(ledger, clock, "opening", "the payment provider", message)
    with suppress(KeyReused):  # another server did so
        await ledger.post(rules.platform_payout(_OPENING, -atoms, clock.now_ms()))


def _words(name: str, mode: str) -> str:
    return f"{name} ({mode} mode)"
