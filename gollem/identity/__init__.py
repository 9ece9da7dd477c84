"""Identity: who may call. API keys, kept hashed, and the principals they prove."""

from gollem.identity.authenticator import Authenticator
from gollem.identity.keys import check_account, make_key
from gollem.identity.sqlite_store import SqliteKeyStore
from gollem.identity.types import KeyRecord, NewKey, Principal, Role

__all__ = [
    "Authenticator",
    "KeyRecord",
    "NewKey",
    "Principal",
    "Role",
    "SqliteKeyStore",
    "check_account",
    "make_key",
]
