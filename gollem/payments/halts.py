"""Whether payouts are halted: by a check of the books that failed, or by an operator."""

from gollem.ledger import Ledger, records


async def are_payouts_halted(ledger: Ledger) -> bool:
    breaker = await ledger.find_record(records.BREAKER, records.PAYOUTS)
    return breaker is not None and breaker.state == "HALTED"
