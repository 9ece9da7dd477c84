"""Identity: who may call, and how often. API keys, kept hashed, and the principals they prove."""

from pathlib import Path

from gollem.clock import Clock, SystemClock
from gollem.identity.authenticator import Authenticator
from gollem.identity.interface import KeyStore
from gollem.identity.keys import check_account
from gollem.identity.rate_limit import RateLimiter
from gollem.identity.types import KeyRecord, NewKey, Principal, Role

__all__ = [
    "Authenticator",
    "KeyRecord",
    "KeyStore",
    "NewKey",
    "Principal",
    "RateLimiter",
    "Role",
    "check_account",
    "open_key_store",
]


async def open_key_store(folder: Path, clock: Clock | None = None) -> KeyStore:
    """The keys of a data folder, in its `keys.db`, which is made if it is not there. Raises WorldError."""
    from gollem.identity.sqlite_store import SqliteKeyStore

    return SqliteKeyStore(folder / "keys.db", clock or SystemClock())
