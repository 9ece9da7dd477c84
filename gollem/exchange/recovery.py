"""What a start does first: the orders that were open when the last process ended claim their capacity again."""

from gollem.exchange.floor import Claim, Floor
from gollem.exchange.types import Terms
from gollem.ledger import Ledger

_PAGE = 1_000


async def restore_claims(ledger: Ledger, floor: Floor) -> int:
    """Claims for every open hold; they take effect as their asks register. Returns how many."""
    restored, after = 0, ""
    while page := await ledger.open_holds(after, _PAGE):
        for hold in page:
            terms = Terms.from_text(hold.terms)
            floor.restore(Claim(hold.order_id, hold.user, hold.provider, terms.ask_key, terms.tokens))
        restored += len(page)
        after = page[-1].order_id
    return restored
