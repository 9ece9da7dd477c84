"""Who calls: roles, principals, and API keys as they are stored."""

from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    CONSUMER = "consumer"
    PROVIDER = "provider"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever has proven who they are."""

    account: str
    role: Role
    key_id: str


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key as the store has it: the secret only as its SHA-256."""

    key_id: str
    account: str
    role: Role
    secret_sha256: bytes = field(repr=False)
    created_at_ms: int
    revoked_at_ms: int | None = None

    @property
    def revoked(self) -> bool:
        return self.revoked_at_ms is not None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `secret` is the whole text that its owner has to keep: it is nowhere else, and never again."""

    record: KeyRecord
    secret: str = field(repr=False)

    @property
    def key_id(self) -> str:
        return self.record.key_id
