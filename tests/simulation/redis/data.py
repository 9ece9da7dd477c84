"""The commands of Redis that the shared book uses, as much of each as it uses; replies as the vendor's client has them.

Time comes with each command, so that whoever asks decides what time it is. `tests/nodes/test_simulated_redis.py` holds
it to a real server.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

Entry = tuple[str, dict[str, str]]


class Unsupported(Exception):
    """A command, or a form of one, that this model has not."""


class WrongCommand(Exception):
    """What Redis answers with an error."""


class Data:
    """Strings, hashes, sorted sets and streams by key, some with the millisecond in which they end."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.ends_ms: dict[str, int] = {}
        self._now_us = 0
        self._commands: dict[str, Callable[..., Any]] = {
            name.removeprefix("_do_").upper(): getattr(self, name) for name in dir(self) if name.startswith("_do_")
        }

    def call(self, now_us: int, name: str, *arguments: str) -> Any:
        """The reply: an int, a text, None or a list. Raises WrongCommand, Unsupported."""
        command = self._commands.get(name.upper())
        if command is None:
            raise Unsupported(name)
        self._now_us = now_us
        return command(*arguments)

    def copy(self) -> "Data":
        """What a replica knows now."""
        other = Data()
        other.values, other.ends_ms = deepcopy(self.values), dict(self.ends_ms)
        return other

    def _value(self, key: str) -> Any:
        """None if it is not there, or its time is over."""
        if self.ends_ms.get(key, self._now_us) * 1_000 <= self._now_us and key in self.ends_ms:
            self._drop(key)
        return self.values.get(key)

    def _drop(self, key: str) -> None:
        self.values.pop(key, None)
        self.ends_ms.pop(key, None)

    def _drop_if_empty(self, key: str) -> None:
        if not self.values.get(key):
            self._drop(key)

    def _made(self, key: str, kind: Callable[[], Any]) -> Any:
        value = self._value(key)
        if value is None:
            value = self.values[key] = kind()
        return value

    # --- keys -------------------------------------------------------------------------------------------------------

    def _do_time(self) -> list[str]:
        return [str(part) for part in divmod(self._now_us, 1_000_000)]

    def _do_flushall(self) -> str:
        self.values.clear()
        self.ends_ms.clear()
        return "OK"

    def _do_get(self, key: str) -> str | None:
        value: str | None = self._value(key)
        return value

    def _do_set(self, key: str, value: str, *options: str) -> str | None:
        """With PX and a time, or with NX and GET."""
        before: str | None = self._value(key)
        match options:
            case ("NX", "GET"):
                self.values.setdefault(key, value)
                return before
            case ("PX", lasts_ms):
                self.values[key], self.ends_ms[key] = value, self._now_us // 1_000 + int(lasts_ms)
                return "OK"
        raise Unsupported(f"SET {options}")

    def _do_pttl(self, key: str) -> int:
        if self._value(key) is None:
            return -2
        return self.ends_ms[key] - self._now_us // 1_000 if key in self.ends_ms else -1

    def _do_pexpire(self, key: str, lasts_ms: str) -> int:
        if self._value(key) is None:
            return 0
        self.ends_ms[key] = self._now_us // 1_000 + int(lasts_ms)
        return 1

    # --- hashes -----------------------------------------------------------------------------------------------------

    def _do_hget(self, key: str, field: str) -> str | None:
        found: str | None = (self._value(key) or {}).get(field)
        return found

    def _do_hmget(self, key: str, *fields: str) -> list[str | None]:
        value = self._value(key) or {}
        return [value.get(field) for field in fields]

    def _do_hgetall(self, key: str) -> list[str]:
        return [part for pair in (self._value(key) or {}).items() for part in pair]

    def _do_hset(self, key: str, *pairs: str) -> int:
        value = self._made(key, dict)
        before = len(value)
        value.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(value) - before

    def _do_hdel(self, key: str, *fields: str) -> int:
        value = self._value(key) or {}
        gone = sum(value.pop(field, None) is not None for field in fields)
        self._drop_if_empty(key)
        return gone

    def _do_hincrby(self, key: str, field: str, by: str) -> int:
        value = self._made(key, dict)
        value[field] = str(int(value.get(field, "0")) + int(by))
        return int(value[field])

    def _do_hscan(self, key: str, cursor: str, *options: str) -> list[Any]:
        """All at once: the first page is the last."""
        return ["0", self._do_hgetall(key) if cursor == "0" else []]

    # --- sorted sets ------------------------------------------------------------------------------------------------

    def _do_zadd(self, key: str, *parts: str) -> int:
        raises_only = parts[0] == "GT"
        score, member = parts[raises_only:]
        value = self._made(key, dict)
        is_new = member not in value
        if is_new or not raises_only or int(score) > value[member]:
            value[member] = int(score)
        return int(is_new)

    def _do_zrem(self, key: str, member: str) -> int:
        gone = (self._value(key) or {}).pop(member, None) is not None
        self._drop_if_empty(key)
        return int(gone)

    def _do_zcard(self, key: str) -> int:
        return len(self._value(key) or ())

    def _do_zscore(self, key: str, member: str) -> str | None:
        score = (self._value(key) or {}).get(member)
        return None if score is None else str(score)

    def _do_zrange(self, key: str, least: str, most: str, *options: str) -> list[str]:
        match options:
            case ("BYSCORE", "LIMIT", "0", limit) if least == "-inf":
                ranked = sorted((score, member) for member, score in (self._value(key) or {}).items())
                return [member for score, member in ranked if score <= int(most)][: int(limit)]
        raise Unsupported(f"ZRANGE {least} {options}")

    # --- streams ----------------------------------------------------------------------------------------------------

    def _do_xadd(self, key: str, maxlen: str, about: str, limit: str, entry_id: str, *pairs: str) -> str:
        """Cut to the limit exactly, where Redis may leave up to a hundred entries more."""
        if (maxlen, about) != ("MAXLEN", "~"):
            raise Unsupported("XADD without MAXLEN ~")
        value: list[Entry] = self._made(key, list)
        if value and _position(entry_id) <= _position(value[-1][0]):
            raise WrongCommand("The ID specified in XADD is equal or smaller than the target stream top item")
        value.append((entry_id, dict(zip(pairs[::2], pairs[1::2], strict=True))))
        del value[: max(0, len(value) - int(limit))]
        return entry_id

    def _do_xread(self, key: str, after: str, limit: str) -> list[Entry]:
        """What comes after an entry: of one stream, and at once."""
        value: list[Entry] = self._value(key) or []
        known, first = _position(after), len(value)
        while first and _position(value[first - 1][0]) > known:
            first -= 1
        return value[first : first + int(limit)]


def _position(entry_id: str) -> tuple[int, int]:
    first, _, second = entry_id.partition("-")
    return int(first), int(second)
