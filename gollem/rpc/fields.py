"""Checks of single fields. Each returns the value in the unit used inside, or raises InvalidField with the rule."""

import math
import re

from gollem import units
from gollem.clock import is_utc_day
from gollem.errors import InvalidField
from gollem.market import MAX_LATENCY_US, MAX_PRICE_TICKS

_ACCOUNT = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_ORDER = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_ASK = re.compile(r"[A-Za-z0-9._:/-]{1,64}", re.ASCII)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = rf"(?=[^:]{{1,253}}(?::|$)){_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]{{2,45}}\]"
_HOST_PORT = re.compile(rf"(?:https://)?(?:{_HOST})(?::[0-9]{{1,5}})?", re.ASCII)
_LEDGER_ACCOUNT = re.compile(r"[A-Za-z0-9._:-]{1,96}", re.ASCII)
_MAX_NAME_CHARS = 200
_MAX_CURSOR_CHARS = 256
MAX_TPS = 1_000_000.0


def account(text: str, field: str) -> str:
    return _pattern(_ACCOUNT, text, field, "A-Z a-z 0-9 . _ -")


def order_id(text: str, field: str = "order_id") -> str:
    return _pattern(_ORDER, text, field, "A-Z a-z 0-9 . _ : -")


def ask_id(text: str, field: str = "ask_id") -> str:
    return _pattern(_ASK, text, field, "A-Z a-z 0-9 . _ : / -")


def whole(value: int, field: str, least: int, most: int) -> int:
    if not least <= value <= most:
        raise InvalidField(field, f"must be a whole number from {least} to {most}, not {value}")
    return value


def count(items: int, field: str, most: int, least: int = 0) -> None:
    if not least <= items <= most:
        raise InvalidField(field, f"must have {least} to {most} entries, not {items}")


def price_ticks(text: str, field: str) -> int:
    """USD per standard credit of work, as ticks."""
    ticks = units.parse_fixed(text, field)
    if not 1 <= ticks <= MAX_PRICE_TICKS:
        raise InvalidField(field, f"must be from 0.00000001 to {units.format_fixed(MAX_PRICE_TICKS)}, not {text}")
    return ticks


def positive_atoms(text: str, field: str, most: int = units.MAX_ATOMS - 1) -> int:
    """Credits above 0, as atoms."""
    atoms = units.parse_fixed(text, field)
    if not 0 < atoms <= most:
        raise InvalidField(field, f"must be above 0 and at most {units.format_fixed(most)}, not {text}")
    return atoms


def signed_atoms(text: str, field: str) -> int:
    """Credits, above or below 0, as atoms."""
    atoms = positive_atoms(text.removeprefix("-"), field)
    return -atoms if text.startswith("-") else atoms


def cents(text: str, field: str) -> int:
    """USD, as cents."""
    return units.parse_cents(text, field)


def ledger_account(text: str, field: str) -> str:
    return _pattern(_LEDGER_ACCOUNT, text, field, "A-Z a-z 0-9 . _ : -")


def name(text: str, field: str) -> str:
    """Of something the ledger or the payment provider has named."""
    if not (0 < len(text) <= _MAX_NAME_CHARS and text.isascii() and text.isprintable()):
        raise InvalidField(field, f"must be 1 to {_MAX_NAME_CHARS} printable ASCII characters")
    return text


def day(text: str, field: str) -> str:
    """yyyymmdd."""
    if not is_utc_day(text):
        raise InvalidField(field, "must be a day, such as 20270131")
    return text


def month(text: str, field: str) -> str:
    """yyyymm."""
    if not is_utc_day(f"{text}01"):
        raise InvalidField(field, "must be a month, such as 202701")
    return text


def page_token(text: str, field: str = "page_token") -> str:
    if not (text.isascii() and len(text) <= _MAX_CURSOR_CHARS):
        raise InvalidField(field, "must be the next_page_token of the page before")
    return text


def latency_us(milliseconds: int, field: str) -> int:
    return whole(milliseconds, field, 1, MAX_LATENCY_US // 1_000) * 1_000


def tpot_ns(tokens_per_second: float, field: str) -> int:
    """Speed as nanoseconds per token."""
    if not (math.isfinite(tokens_per_second) and 0.0001 <= tokens_per_second <= MAX_TPS):
        raise InvalidField(field, f"must be from 0.0001 to {MAX_TPS:.0f} tokens a second")
    return units.tpot_ns(tokens_per_second)


def endpoint(text: str, field: str = "endpoint") -> str:
    """host:port, or https://host[:port]."""
    port = text.rpartition(":")[2] if ":" in text.removeprefix("https://") and not text.endswith("]") else ""
    if not _HOST_PORT.fullmatch(text) or not (port or text.startswith("https://")):
        raise InvalidField(field, "must be host:port, or https://host[:port] for TLS")
    if port and not 1 <= int(port) <= 65_535:
        raise InvalidField(field, f"the port must be from 1 to 65535, not {port}")
    return text


def _pattern(pattern: re.Pattern[str], text: str, field: str, alphabet: str) -> str:
    if not pattern.fullmatch(text):
        raise InvalidField(field, f"must be 1 to 64 of {alphabet}")
    return text
