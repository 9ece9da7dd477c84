"""Grants: what lets a consumer stream from the provider it was matched to, verified there without asking us.

Signed with Ed25519 (RFC 8032), which is deterministic: a replayed match carries the same grant.
"""

import base64
import os
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gollem.errors import InvariantBroken
from gollem.exchange import Matched
from gollem.rpc.pb import inference_pb2


class GrantSigner:
    """Signs with one key, which lives as long as the exchange's data."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def open(cls, file: Path) -> Self:
        """The key in `file`, made on first use with mode 0600. Raises InvariantBroken if it is damaged."""
        if not file.exists():
            _write_key(file, Ed25519PrivateKey.generate())
        try:
            return cls(Ed25519PrivateKey.from_private_bytes(file.read_bytes()))
        except ValueError as error:
            raise InvariantBroken(
                f"{file} is no signing key: restore a backup, or remove it to make another"
            ) from error

    @property
    def public_key(self) -> bytes:
        """32 bytes, for agents."""
        return self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def grant(self, matched: Matched) -> str:
        """The grant of an order, as text for `GenerateRequest.grant`."""
        terms = matched.terms
        claims = inference_pb2.GrantClaims(
            order_id=matched.order_id,
            provider_id=terms.provider_id,
            ask_id=terms.ask_id,
            model=terms.model,
            max_prompt_tokens=terms.prompt_tokens,
            max_completion_tokens=terms.max_tokens,
            price_ticks=terms.price_ticks,
            completion_price_ticks=terms.completion_price_ticks,
            issued_at_ms=terms.matched_at_ms,
            expires_at_ms=terms.grant_expires_at_ms,
            hold_expires_at_ms=matched.hold_expires_at_ms,
            held_atoms=matched.held_atoms,
            fence=matched.fence,
        ).SerializeToString(deterministic=True)
        return f"{_base64url(claims)}.{_base64url(self._key.sign(claims))}"


def _write_key(file: Path, key: Ed25519PrivateKey) -> None:
    """Complete or not at all: two servers that start at once end up with one key."""
    raw = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    scratch = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(raw)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(scratch, file)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
