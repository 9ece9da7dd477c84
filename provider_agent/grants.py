"""Checks a grant offline: signature, who it is for, and when. Pure: whether it was used before is the journal's."""

import base64
import binascii
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError

from provider_agent.pb.inference_pb2 import GrantClaims
from provider_agent.refusals import Refusal

_MAX_GRANT_CHARS = 4_096
# Settling takes its time, and is refused once the hold has expired: a generation ends a tenth of the time before, but
# not more than this, and does not begin with less than that.
_MOST_MARGIN_MS = 10_000
_LEAST_LEFT_MS = 2_000


@dataclass(frozen=True, slots=True)
class Seller:
    """Whose grants are served: as the exchange registered it."""

    provider_id: str
    ask_id: str
    model: str


def check_grant(text: str, keys: Sequence[Ed25519PublicKey], seller: Seller, now_ms: int) -> GrantClaims:
    """The claims of a grant, signed with any of `keys`, that this seller may serve now.

    Raises Refusal: GRANT_INVALID or GRANT_EXPIRED."""
    claims = _verified(text, keys)
    for field in ("provider_id", "ask_id", "model"):
        if getattr(claims, field) != getattr(seller, field):
            raise Refusal("GRANT_INVALID", f"the grant is for another {field}", field=field)
    if not claims.order_id or claims.max_prompt_tokens < 1 or claims.max_completion_tokens < 1:
        raise Refusal("GRANT_INVALID", "the grant names no order or allows no tokens")
    if now_ms > claims.expires_at_ms:
        raise Refusal("GRANT_EXPIRED", "the grant's time to start is over", expires_at_ms=claims.expires_at_ms)
    serving_ms(claims, now_ms)
    return claims


def serving_ms(claims: GrantClaims, now_ms: int) -> int:
    """How long a generation that begins now may last, so that it is settled in time. Raises Refusal GRANT_EXPIRED."""
    left_ms = claims.hold_expires_at_ms - now_ms
    if left_ms < _LEAST_LEFT_MS:
        message = "the order's hold expires too soon to serve it"
        raise Refusal("GRANT_EXPIRED", message, hold_expires_at_ms=claims.hold_expires_at_ms)
    return left_ms - min(_MOST_MARGIN_MS, left_ms // 10)


def _verified(text: str, keys: Sequence[Ed25519PublicKey]) -> GrantClaims:
    """Nothing of the content is looked at before its signature has been found good."""
    content, separator, signature = text.partition(".")
    if len(text) > _MAX_GRANT_CHARS or not separator:
        raise Refusal("GRANT_INVALID", "not a grant: two parts of base64url with a dot between them")
    try:
        signed, proof = _decoded(content), _decoded(signature)
    except (binascii.Error, ValueError):
        raise Refusal("GRANT_INVALID", "not a grant: the parts are not base64url without padding") from None
    if any(_is_signed(signed, proof, key) for key in keys):
        with suppress(DecodeError):
            return GrantClaims.FromString(signed)
    raise Refusal("GRANT_INVALID", "the grant was not signed by this provider's exchange")


def _is_signed(signed: bytes, proof: bytes, key: Ed25519PublicKey) -> bool:
    try:
        key.verify(proof, signed)
    except InvalidSignature:
        return False
    return True


def _decoded(part: str) -> bytes:
    if "=" in part or "+" in part or "/" in part:
        raise ValueError("not base64url without padding")
    padded = part.encode("ascii") + b"=" * (-len(part) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)
