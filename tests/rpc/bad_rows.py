"""Rows of bad input: how they are made, and values that are wrong for many fields."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

ABSENT = object()  # as a value: the field is cleared

INT32, INT64 = (-(2**31), 2**31 - 1), (-(2**63), 2**63 - 1)
NUMBERS = [-math.inf, math.inf, math.nan, -1.0, -0.0, 0.0, 5e-324, 1e300]
CONTROL = [
    "a\n",
    "\x00",
    "a\x00b",
    "a b",
    "é",
    "ａ",
    "a\u202eb",
    "😀",
    "\x7f",
    "a,b",
    "a%20b",
    "'; DROP TABLE holds;--",
]
ACCOUNTS = [*CONTROL, "a" * 65, "a" * 100_000, "a/b", "a:b"]
ORDER_IDS = [*CONTROL, "o" * 65, "o" * 100_000, "a/b"]
ASK_IDS = [*CONTROL, "a" * 65, "a" * 100_000]
MODELS = ["gpt-5", "GPT-4", "gpt-4 ", "gpt-4\x00", "модель", "\n", "😀" * 32]
NO_DECIMALS = [
    "1e5", "1E5", "NaN", "nan", "inf", "-1", "+1", " 1", "1 ", "1\n", "1,0", "1_0", "0x1", ".5", "1.", "1.2.3", "--1",
    "١", "１", "1\x00", "1" + "0" * 12, "1" + "0" * 30, "0.000000001", "1.123456789", "9" * 100_000, "true",
]  # fmt: skip
GPUS = ["h9000", "h100 ", "h100\x00", "é", "x" * 65]
ENDPOINTS = [
    "", "localhost", "127.0.0.1", ":80", "h:", "h:0", "h:65536", "h:99999", "h:-1", "h:+1", "h: 1", "h:1\n", "h:٣",
    "http://h:80", "https://", "https://:443", "https://h:0", "h:80/path", "user@h:80", "h h:80", "é:80", "[::1]",
    "[::1]:0", "[zz]:80", "a..b:80", ".h:80", "h.:80/", "-h:80", "https://.h", "x" * 64 + ":80", "h" * 300 + ":80",
]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """`message` is to be refused with this status, reason and, where it is one field's fault, field."""

    label: str
    message: Message
    status: str = "INVALID_ARGUMENT"
    reason: str = "INVALID_FIELD"
    field: str | None = None


def each(base: Message, path: str, values: Iterable[Any], field: str | None = None) -> Iterator[Row]:
    """The message with one field changed: refused as INVALID_FIELD, for the sake of this field."""
    for value in values:
        yield Row(f"{path}={str(value)[:40]!r}", changed(base, path, value), field=field or path)


def others(base: Message, path: str, values: Iterable[Any], status: str, reason: str) -> Iterator[Row]:
    """The same, with another status and reason."""
    for value in values:
        yield Row(f"{path}={str(value)[:40]!r}", changed(base, path, value), status, reason)


def changed(base: Message, path: str, value: Any) -> Message:
    """A copy with the field of this path set; a list replaces what is repeated."""
    copy = type(base)()
    copy.CopyFrom(base)
    inside: Any = copy
    *outer, name = path.split(".")
    for step in outer:
        inside = getattr(inside, step)
    if value is ABSENT or isinstance(value, list):
        inside.ClearField(name)
    if isinstance(value, list):
        getattr(inside, name).extend(value)
    elif isinstance(value, Message):
        getattr(inside, name).CopyFrom(value)
    elif value is not ABSENT:
        setattr(inside, name, value)
    return copy
