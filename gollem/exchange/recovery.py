"""What a start does first: the orders that were open when the last process ended claim their capacity again."""

from gollem.exchange.floor import Floor
from gollem.exchange.leases import claim_of
from gollem.ledger import Ledger

_PAGE = 1_000


async def restore_claims(ledger: Ledger, floor: Floor) -> int:
    """Claims for every open hold; they take effect as their asks register. Returns how many."""
    restored, after = 0, ""
    while page := await ledger.open_holds(after, _PAGE):
        for hold in page:
            floor.restore(claim_of(hold))
        restored += len(page)
        after = page[-1].order_id
    return restored
