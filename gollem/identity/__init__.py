"""Identity: who may call, and how often. API keys, kept hashed, and the principals they prove."""

from pathlib import Path

from gollem.clock import Clock, SystemClock
from gollem.identity.authenticator import Authenticator
from gollem.identity.interface import KeyStore
from gollem.identity.keys import check_account
from gollem.identity.rate_limit import RateLimiter, Use
from gollem.identity.types import KeyRecord, NewKey, Principal, Role

__all__ = [
    "Authenticator",
    "KeyRecord",
    "KeyStore",
    "NewKey",
    "Principal",
    "RateLimiter",
    "Role",
    "Use",
    "check_account",
    "make_key_table",
    "open_key_store",
]


async def open_key_store(folder: Path, clock: Clock | None = None, url: str = "") -> KeyStore:
    """The keys at `url`, such as dynamodb://table?region=eu-west-1; without one, those of a data folder, in its
    `keys.db`, which is made if it is not there. Raises WorldError."""
    if url:
        from gollem.identity.dynamodb_store import open_dynamodb_store

        return await open_dynamodb_store(url, clock or SystemClock())
    from gollem.identity.sqlite_store import SqliteKeyStore

    return SqliteKeyStore(folder / "keys.db", clock or SystemClock())


async def make_key_table(url: str) -> list[str]:
    """The table that `url` names, for keys. Returns what was done, a line each. Raises WorldError."""
    from gollem.identity.dynamodb_store import make_table

    return await make_table(url)
