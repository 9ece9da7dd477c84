"""Who may call: API keys, kept hashed, the principals they prove, and how often each account may call."""

from gollem.identity.authenticator import Authenticator
from gollem.identity.interface import KeyStore
from gollem.identity.keys import make_key
from gollem.identity.rate_limit import RateLimiter
from gollem.identity.types import KeyRecord, NewKey, Principal, Role

__all__ = ["Authenticator", "KeyRecord", "KeyStore", "NewKey", "Principal", "RateLimiter", "Role", "make_key"]
