"""One request as an endpoint sees it, with the checks that Stripe makes before it begins."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.stripe.errors import invalid

MAX_AMOUNT_CENTS = 99_999_999


@dataclass(frozen=True, slots=True)
class Request:
    """`account` is the connected account it is made for, empty for the platform; `path_ids` come from the path."""

    route: str
    path: str
    params: Mapping[str, Any]
    account: str = ""
    key: str = ""
    path_ids: Sequence[str] = field(default=())

    @property
    def expand(self) -> list[str]:
        return list(self.params.get("expand", []))

    @property
    def metadata(self) -> dict[str, str]:
        return self.nested("metadata")

    def nested(self, name: str) -> dict[str, Any]:
        given = self.params.get(name) or {}
        if not isinstance(given, dict):
            raise invalid(f"Invalid object: {given}", name)
        return given

    def allow(self, names: str) -> None:
        """Refuse what the endpoint has no parameter for."""
        known = {*names.split(), "expand"}
        for name in self.params:
            if name not in known:
                raise invalid(f"Received unknown parameter: {name}", name, "parameter_unknown")

    def text(self, name: str, default: str | None = None) -> str:
        value = self.params.get(name, default)
        if value is None or value == "":
            raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
        if not isinstance(value, str):
            raise invalid(f"Invalid string: {value}", name)
        return value

    def number(self, name: str, default: int | None = None, *, least: int = 0, most: int = MAX_AMOUNT_CENTS) -> int:
        text = self.text(name, None if default is None else str(default))
        if not text.isdecimal() or not least <= int(text) <= most:
            raise invalid(f"Invalid integer: {text}", name, "parameter_invalid_integer")
        return int(text)

    def cents(self, default: int | None = None, *, least: int = 1) -> int:
        """The amount."""
        return self.number("amount", default, least=least)

    def flag(self, name: str) -> bool:
        value = self.params.get(name, "false")
        if value not in ("true", "false"):
            raise invalid(f"Invalid boolean: {value}", name)
        return bool(value == "true")

    def require_usd(self) -> None:
        if self.text("currency") != "usd":
            raise invalid("Invalid currency: only usd here", "currency")

    def one_of(self, name: str, known: Collection[str], default: str | None = None) -> str:
        value = self.text(name, default)
        if value not in known:
            raise invalid(f"Invalid {name}: must be one of {', '.join(known)}", name)
        return value
