"""Some items as they are together at one moment: what a refusal is explained by."""

from dataclasses import dataclass

from gollem.ledger.accounts import user_account
from gollem.ledger.dynamodb import items
from gollem.ledger.dynamodb.client import Client
from gollem.ledger.dynamodb.items import Item
from gollem.ledger.types import Entry, Hold, Record


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Implements `refusals.View` over the items that were asked for; others are taken for absent."""

    found: dict[tuple[str, str], Item]

    @classmethod
    async def take(cls, client: Client, keys: list[Item]) -> "Snapshot":
        """At most 100 keys, read in one transaction; a key may be named twice."""
        unique = {_name(key): key for key in keys}
        gets = [{"Get": {"TableName": client.table, "Key": key}} for key in unique.values()]
        answer = await client.ask("transact_get_items", {"TransactItems": gets})
        seen = [one.get("Item") for one in answer["Responses"]]
        return cls({name: item for name, item in zip(unique, seen, strict=True) if item})

    def entry(self, key: str) -> Entry | None:
        item = self._item(items.entry_key(key))
        return items.read_entry(item) if item else None

    def balance_atoms(self, account: str) -> int:
        return items.integer(self._item(items.account_key(account)), "balance")

    def held_atoms(self, account: str) -> int:
        return items.integer(self._item(items.account_key(account)), "held")

    def is_active(self, user: str) -> bool:
        return "frozen" not in self._item(items.account_key(user_account(user)))

    def hold(self, order_id: str) -> Hold | None:
        item = self._item(items.hold_key(order_id))
        return items.read_hold(item) if item else None

    def record(self, kind: str, record_id: str) -> Record | None:
        item = self._item(items.record_key(kind, record_id))
        return items.read_record(item) if item else None

    def _item(self, key: Item) -> Item:
        return self.found.get(_name(key), {})


def _name(key: Item) -> tuple[str, str]:
    return key["pk"]["S"], key["sk"]["S"]
