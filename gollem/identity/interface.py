"""The key store's promise."""

from collections.abc import Sequence
from typing import Protocol

from gollem.identity.types import KeyRecord, NewKey, Role


class KeyStore(Protocol):
    """API keys by their ids. Every method may raise WorldError: the store does not answer."""

    async def create(self, account: str, role: Role) -> NewKey:
        """A new key, stored before it is given. Raises InvalidField for an account's name that will not do."""

    async def find(self, key_id: str) -> KeyRecord | None:
        """The key, revoked or not, as of no earlier than this call."""

    async def adopt(self, record: KeyRecord) -> bool:
        """Take over a key of another store as it is, or its revocation if the key is here. Whether that was news."""

    async def list(self, account: str | None = None, after: KeyRecord | None = None) -> Sequence[KeyRecord]:
        """Keys of one account or of all, by account and age, the first thousand, or the first after that one. What was
        changed a moment ago may not show yet where many machines keep it."""

    async def revoke(self, key_id: str) -> bool:
        """Whether this call revoked it: not if it was revoked before, or is not there."""

    async def close(self) -> None:
        """Idempotent."""
