"""API keys: `glm_<key id>_<secret>`. The id finds the record, the secret proves it. Pure.

The secret is 256 random bits, so that one plain SHA-256 keeps it: nobody can guess it, however fast the hash.
"""

import re
import secrets
from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest

from gollem.errors import InvalidField
from gollem.identity.types import KeyRecord, NewKey, Role

_KEY = re.compile(r"glm_(?P<key_id>[0-9a-f]{16})_(?P<secret>[A-Za-z0-9_-]{43})", re.ASCII)
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def make_key(
    account: str,
    role: Role,
    now_ms: int,
    random_hex: Callable[[int], str] = secrets.token_hex,
    random_text: Callable[[int], str] = secrets.token_urlsafe,
) -> NewKey:
    """A key for the account. Raises InvalidField for an account's name that will not do."""
    check_account(account)
    key_id, secret = random_hex(8), random_text(32)
    return NewKey(KeyRecord(key_id, account, role, _hash(secret), now_ms), f"glm_{key_id}_{secret}")


def split_key(text: str) -> tuple[str, str] | None:
    """Id and secret, or nothing if it has not the form of a key."""
    match = _KEY.fullmatch(text)
    return (match["key_id"], match["secret"]) if match else None


def proves(secret: str, record: KeyRecord) -> bool:
    """Whether the secret is the record's; takes the same time whichever byte is wrong."""
    return compare_digest(_hash(secret), record.secret_sha256)


def check_account(account: str, field: str = "account") -> None:
    """Raises InvalidField."""
    if not _ACCOUNT.fullmatch(account):
        raise InvalidField(field, "must be 1 to 64 of A-Z a-z 0-9 . _ -")


def _hash(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
