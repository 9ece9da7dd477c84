"""Stripe's own description of its objects, and what an object has wrong by it. Comes with the module of stripe-mock."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.servers import stripe_mock

_PACKAGE = "github.com/stripe/stripe-mock"
_SPEC = Path("embedded", "openapi", "spec3.json")
_MODULE = Path(stripe_mock.__file__).with_name("stripe_mock_build")
_TIMEOUT_S = 300
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}
Schema = Mapping[str, Any]


@cache
def _schemas() -> Schema:
    command = ["go", "mod", "download", "-json", _PACKAGE]
    done = subprocess.run(command, cwd=_MODULE, timeout=_TIMEOUT_S, capture_output=True, text=True, check=True)
    spec = json.loads(Path(json.loads(done.stdout)["Dir"], _SPEC).read_text())
    schemas: Schema = spec["components"]["schemas"]
    return schemas


def faults(thing: Mapping[str, Any]) -> list[str]:
    """Fields that are missing, unknown, or of another type; empty if it is as Stripe's would be."""
    return list(_faults(thing, _schemas()[thing["object"]], thing["object"]))


def is_expandable(kind: str, field: str) -> bool:
    """Whether an object of the kind may be fetched with this field as a whole object instead of its id."""
    return "x-expansionResources" in _schemas()[kind]["properties"][field]


def _faults(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if "$ref" in schema:
        schema = _schemas()[schema["$ref"].rpartition("/")[2]]
    if value is None:
        if not schema.get("nullable"):
            yield f"{path}: null"
    elif "anyOf" in schema:
        tried = [list(_faults(value, one, path)) for one in schema["anyOf"]]
        if all(tried):
            yield from min(tried, key=len)
    elif "type" in schema:
        yield from _typed(value, schema, path)


def _typed(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if not isinstance(value, _TYPES[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean"):
        yield f"{path}: {value!r} is no {schema['type']}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    elif isinstance(value, list):
        for item in value:
            yield from _faults(item, schema["items"], f"{path}[]")
    elif isinstance(value, dict) and "properties" in schema:
        yield from _fields(value, schema, path)


def _fields(value: Mapping[str, Any], schema: Schema, path: str) -> Iterator[str]:
    yield from (f"{path}.{name}: missing" for name in schema.get("required", []) if name not in value)
    for name, inner in value.items():
        if name in schema["properties"]:
            yield from _faults(inner, schema["properties"][name], f"{path}.{name}")
        elif not schema.get("additionalProperties"):
            yield f"{path}.{name}: unknown"
