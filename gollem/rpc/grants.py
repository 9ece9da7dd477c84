"""Grants: what lets a consumer stream from the provider it was matched to, verified there without asking us.

Signed with Ed25519 (RFC 8032), which is deterministic: a replayed match carries the same grant.
"""

import base64
import binascii
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gollem.config import ConfigError
from gollem.errors import InvariantBroken
from gollem.exchange import Matched
from gollem.rpc.pb import inference_pb2

_MOST_KEYS = 8
_SEED_BYTES = 32


class GrantSigner:
    """Signs with the first of its keys; agents are told of all, so that the next may become the first."""

    def __init__(self, keys: Sequence[Ed25519PrivateKey]) -> None:
        self._key = keys[0]
        self._public = tuple(map(_public, keys))

    @classmethod
    def open(cls, file: Path, secret: str = "") -> Self:
        """The keys of `secret` (setting storage.grant_keys); without one, the key in `file`, made on first use with
        mode 0600. Raises ConfigError for a secret that is none, InvariantBroken for a damaged file."""
        return cls(_parsed(secret) if secret else [_kept(file)])

    @property
    def public_key(self) -> bytes:
        """32 bytes, for agents: of the key that signs."""
        return self._public[0]

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """Of all that agents are to accept, the one that signs first."""
        return self._public

    @property
    def names(self) -> tuple[str, ...]:
        """Of all keys in the same order, for people and other nodes: nothing can be made of them."""
        return tuple(sha256(key).hexdigest()[:16] for key in self._public)

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


def _parsed(secret: str) -> list[Ed25519PrivateKey]:
    """What is wrong is named by its place: the text itself must not show anywhere."""
    texts = [text.strip() for text in secret.split(",")]
    if len(texts) > _MOST_KEYS or len(set(texts)) < len(texts):
        raise ConfigError(f"storage.grant_keys: must be at most {_MOST_KEYS} keys, each once")
    return [_decoded(text, number) for number, text in enumerate(texts, start=1)]


def _decoded(text: str, number: int) -> Ed25519PrivateKey:
    try:
        seed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise ConfigError(
            f"storage.grant_keys: key {number} must be {_SEED_BYTES} bytes as base64url, as of `gollem keys grant`"
        )
    return Ed25519PrivateKey.from_private_bytes(seed)


def _kept(file: Path) -> Ed25519PrivateKey:
    if not file.exists():
        _write_key(file, Ed25519PrivateKey.generate())
    try:
        return Ed25519PrivateKey.from_private_bytes(file.read_bytes())
    except ValueError as error:
        raise InvariantBroken(f"{file} is no signing key: restore a backup, or remove it to make another") from error


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


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
