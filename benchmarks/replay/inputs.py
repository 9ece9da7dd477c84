"""Reads requests and asks from CSV. Whatever cannot be replayed is refused with its file, line, column and rule."""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from gollem import units
from gollem.errors import InvalidField

T = TypeVar("T")
MAX_ROWS = 5_000_000
MAX_TOKENS = 2**24 - 1  # prompt and completion together: the API's own limit
MAX_USD_PER_MTOK = 100_000
_REQUEST_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_ASK_COLUMNS = ("model", "provider", "prompt_usd_per_mtok", "completion_usd_per_mtok")


class BadInput(Exception):
    """A file that cannot be replayed; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Request:
    """Seconds after the first request, tokens of the prompt, tokens that were generated."""

    at_s: float
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """What a provider charges for a model, in 10^-8 USD per million tokens."""

    model: str
    provider: str
    prompt_e8: int
    completion_e8: int


def read_requests(file: Path, limit: int | None = None) -> list[Request]:
    """The first `limit` requests by time. Raises BadInput."""
    rows = list(_rows(file, _REQUEST_COLUMNS, _request))
    rows.sort(key=lambda row: row[0])
    began = rows[0][0]
    return [Request((at - began).total_seconds(), prompt, completion) for at, prompt, completion in rows[:limit]]


def read_asks(file: Path) -> list[ListedPrice]:
    """Every listed price. Raises BadInput."""
    return list(_rows(file, _ASK_COLUMNS, _ask))


def _rows(file: Path, columns: tuple[str, ...], parse: Callable[[dict[str, str]], T]) -> Iterator[T]:
    """Parse each row of a CSV file with a header; blank lines are passed over."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            if missing := [column for column in columns if column not in (reader.fieldnames or ())]:
                raise BadInput(f"{file}: has no column {', '.join(missing)}; it needs {', '.join(columns)}")
            count = 0
            for row in reader:
                count += 1
                if count > MAX_ROWS:
                    raise BadInput(f"{file}: has more than {MAX_ROWS:,} rows")
                try:
                    yield parse({column: (row[column] or "").strip() for column in columns})
                except ValueError as error:
                    raise BadInput(f"{file}:{reader.line_num}: {error}") from None
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{file}: is not CSV: {error}") from error
    if not count:
        raise BadInput(f"{file}: has no rows")


def _request(row: dict[str, str]) -> tuple[datetime, int, int]:
    prompt, completion = _tokens(row, "ContextTokens"), _tokens(row, "GeneratedTokens")
    if prompt + completion > MAX_TOKENS:
        raise ValueError(f"ContextTokens and GeneratedTokens: together above {MAX_TOKENS:,}")
    return _time(row["TIMESTAMP"]), prompt, completion


def _time(text: str) -> datetime:
    """A time of ISO 8601, in UTC where it names no zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"TIMESTAMP: {text!r} is not a time such as 2023-11-16 18:15:46.680") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _tokens(row: dict[str, str], column: str) -> int:
    text = row[column]
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) == 0:
        raise ValueError(f"{column}: {text!r} is not a whole number above 0")
    return int(text)


def _ask(row: dict[str, str]) -> ListedPrice:
    if not row["model"] or not row["provider"]:
        raise ValueError("model and provider: must not be empty")
    prompt, completion = (_price(row, column) for column in _ASK_COLUMNS[2:])
    return ListedPrice(_name(row["model"]), _name(row["provider"]), prompt, completion)


def _name(text: str) -> str:
    """In the letters that the API allows, 48 of them at most so that there is room for a suffix."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:48]


def _price(row: dict[str, str], column: str) -> int:
    try:
        value = units.parse_fixed(row[column], column)
    except InvalidField as error:
        raise ValueError(f"{column}: {row[column]!r}: {error.rule}") from None
    if not 0 < value <= MAX_USD_PER_MTOK * 10**units.PLACES:
        raise ValueError(
            f"{column}: {row[column]} is not above 0 and at most {MAX_USD_PER_MTOK:,} USD a million tokens"
        )
    return value
