"""The audit on DynamoDB."""

from gollem.ledger.audit import AccountState, HoldBalance, prove
from gollem.ledger.dynamodb import items, queries
from gollem.ledger.dynamodb.client import Client
from gollem.ledger.dynamodb.items import Item
from gollem.ledger.types import AuditReport


async def audit(client: Client) -> AuditReport:
    found: dict[str, list[Item]] = {"T": [], "A": [], "P": [], "H": [], "R": [], "L": []}
    async for page in queries.pages(client, "scan", ConsistentRead=True):
        for item in page:
            found[item["pk"]["S"][0]].append(item)
    holds = [items.read_hold(item) for item in found["H"]]
    return prove(
        [(items.read_entry(item), item["seal"]["S"]) for item in found["T"]],
        [
            AccountState(items.read_account_name(item), items.integer(item, "balance"), items.integer(item, "held"))
            for item in found["A"] + found["P"]
        ],
        [HoldBalance(hold.order_id, hold.user, hold.state, hold.remaining_atoms) for hold in holds],
        [items.read_record(item) for item in found["R"]],
    )
