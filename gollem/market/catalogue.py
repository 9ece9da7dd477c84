"""What can be sold: models with their multipliers and references, GPU types, and the names people use for them."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gollem.errors import InvalidField, UnknownModel
from gollem.market.types import MAX_LISTED, MAX_PRICE_TICKS, MAX_TOKENS
from gollem.units import parse_fixed

OWN = Path(__file__).with_name("catalogue.toml")
NS_PER_S = 1_000_000_000


class CatalogueError(ValueError):
    """An entry of the file is wrong; the text names its key and says what would do."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What the market usually pays and gets for a model: the scale of the balanced policy where a bid has no limit."""

    price_ticks: int
    latency_us: int
    tpot_ns: int


@dataclass(frozen=True, slots=True)
class Model:
    """One model. `multiplier_micro` is in millionths, `context_tokens` prompt and completion together."""

    name: str
    multiplier_micro: int
    context_tokens: int
    reference: Reference


class Catalogue:
    """Models and GPU types by name; fixed once it is loaded."""

    def __init__(self, models: Mapping[str, Model], aliases: Mapping[str, str], gpus: Mapping[str, int]) -> None:
        self._models = dict(models)
        self._aliases = dict(aliases)
        self._gpus = dict(gpus)

    @classmethod
    def load(cls, path: Path | str | None = None) -> "Catalogue":
        """From a TOML file; None or "": the one that comes with GoLLeM. Raises CatalogueError."""
        file = Path(path) if path else OWN
        try:
            return cls.parse(tomllib.loads(file.read_text(encoding="utf-8")))
        except OSError as error:
            raise CatalogueError(f"{file}: cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CatalogueError(f"{file}: is not TOML: {error}") from error

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> "Catalogue":
        """From the tables `gpus` and `models`. Raises CatalogueError."""
        _known_keys(tree, "catalogue", {"gpus", "models"})
        gpus = {name: _gpu(name, body) for name, body in _entries(tree, "gpus").items()}
        if len(gpus) > MAX_LISTED:
            raise CatalogueError(f"gpus: must be at most {MAX_LISTED}")
        bodies = _entries(tree, "models")
        models = {name: _model(name, body) for name, body in bodies.items()}
        return cls(models, _aliases(bodies), gpus)

    @property
    def models(self) -> tuple[Model, ...]:
        """All, in the file's order."""
        return tuple(self._models.values())

    def aliases(self, name: str) -> list[str]:
        """Other names of the model of this name, in the file's order."""
        return [alias for alias, model in self._aliases.items() if model == name]

    @property
    def gpus(self) -> Mapping[str, int]:
        """Multipliers in hundredths by GPU type."""
        return dict(self._gpus)

    def resolve(self, name: str) -> Model:
        """The model of this name or alias. Raises UnknownModel, whose text names the nearest ones."""
        model = self._models.get(self._aliases.get(name, name))
        if model is None:
            names = [*self._models, *self._aliases]
            near = difflib.get_close_matches(name[:64], names, n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UnknownModel(f"there is no model {name[:64]!r}{hint}", model=name[:64])
        return model

    def gpu(self, name: str) -> int:
        """The multiplier of a GPU type in hundredths. Raises InvalidField."""
        centi = self._gpus.get(name)
        if centi is None:
            raise InvalidField("gpu_type", f"must be one of {', '.join(self._gpus)}")
        return centi


def _gpu(name: str, body: Any) -> int:
    key = f"gpus.{name}"
    _known_keys(body, key, {"multiplier"})
    return _decimal(body, key, "multiplier", per=10**6, least=1, most=1_000)


def _model(name: str, body: Any) -> Model:
    key = f"models.{name}"
    _known_keys(body, key, {"aliases", "multiplier", "context_tokens", "price", "latency_ms", "throughput_tps"})
    return Model(
        name=name,
        multiplier_micro=_decimal(body, key, "multiplier", per=100, least=1, most=100_000_000),
        context_tokens=_whole(body, key, "context_tokens", 2, MAX_TOKENS),
        reference=Reference(
            price_ticks=_decimal(body, key, "price", per=1, least=1, most=MAX_PRICE_TICKS),
            latency_us=1_000 * _whole(body, key, "latency_ms", 1, 3_600_000),
            tpot_ns=NS_PER_S // _whole(body, key, "throughput_tps", 1, 1_000_000),
        ),
    )


def _aliases(bodies: Mapping[str, Any]) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for name, body in bodies.items():
        key = f"models.{name}.aliases"
        listed = body.get("aliases", [])
        if not isinstance(listed, list) or not all(isinstance(alias, str) and alias for alias in listed):
            raise CatalogueError(f"{key}: must be a list of names")
        for alias in listed:
            if alias in bodies or alias in aliases:
                raise CatalogueError(f"{key}: {alias!r} names another model already")
            aliases[alias] = name
    return aliases


def _entries(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = tree.get(key)
    if not isinstance(table, dict) or not table:
        raise CatalogueError(f"{key}: must be a table with at least one entry")
    for name in table:
        if not 1 <= len(name) <= 64:
            raise CatalogueError(f"{key}.{name}: a name must have 1 to 64 characters")
    return table


def _known_keys(body: Any, key: str, known: set[str]) -> None:
    if not isinstance(body, Mapping):
        raise CatalogueError(f"{key}: must be a table")
    for name in body:
        if name not in known:
            raise CatalogueError(f"{key}.{name}: there is no such entry; known are {', '.join(sorted(known))}")


def _decimal(body: Mapping[str, Any], key: str, name: str, per: int, least: int, most: int) -> int:
    """A decimal in a string as an integer of `per` * 10^-8, which it must be exactly."""
    rule = f"{key}.{name}: must be a decimal in quotes, a multiple of {per * 1e-8:.8g} up to {most * per / 10**8:.8g}"
    try:
        value, rest = divmod(parse_fixed(body[name], name), per)
    except (KeyError, TypeError, InvalidField):
        raise CatalogueError(rule) from None
    if rest or not least <= value <= most:
        raise CatalogueError(rule)
    return value


def _whole(body: Mapping[str, Any], key: str, name: str, least: int, most: int) -> int:
    value = body.get(name)
    if type(value) is not int or not least <= value <= most:
        raise CatalogueError(f"{key}.{name}: must be a whole number from {least} to {most}")
    return value
