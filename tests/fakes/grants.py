"""Signs grants as the exchange does, and forges them as nobody should."""

import base64
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gollem.rpc.pb.inference_pb2 import GrantClaims


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """An exchange's signing key."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()

    def grant(self, **fields: object) -> str:
        """A grant that is good unless `fields` say otherwise."""
        now_ms = time.time_ns() // 1_000_000
        claims = {
            "order_id": "order-1",
            "provider_id": "p1",
            "ask_id": "m:cpu",
            "model": "m",
            "max_prompt_tokens": 1_000,
            "max_completion_tokens": 1_000,
            "price_ticks": 100_000,
            "completion_price_ticks": 100_000,
            "issued_at_ms": now_ms,
            "expires_at_ms": now_ms + 60_000,
            "hold_expires_at_ms": now_ms + 120_000,
            "held_atoms": 10**8,
        }
        content = GrantClaims(**(claims | fields)).SerializeToString()  # type: ignore[arg-type]
        return f"{b64(content)}.{b64(self._key.sign(content))}"
