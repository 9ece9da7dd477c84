"""The key store's promise."""

from typing import Protocol

from gollem.identity.types import KeyRecord


class KeyStore(Protocol):
    """Any thread may call. `find` takes microseconds; the rest may wait for a disk: keep them off the event loop.
    All raise WorldError when the store does not answer."""

    def create(self, record: KeyRecord) -> None: ...

    def find(self, key_id: str) -> KeyRecord | None:
        """Revoked keys too."""

    def list_keys(self, account: str | None = None) -> list[KeyRecord]:
        """Of one account or of all, the oldest first, a bounded number."""

    def revoke(self, key_id: str, now_ms: int) -> KeyRecord | None:
        """The key as it is now, or None if there is none. The first revocation's time stays."""

    def close(self) -> None: ...
