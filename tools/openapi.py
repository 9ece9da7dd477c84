"""The OpenAPI document of the HTTP routes, from the descriptor set: what Envoy's transcoder makes of the protos.

Rules of the mapping: https://protobuf.dev/programming-guides/json/ and the comments of google/api/http.proto.
"""

import json
from collections.abc import Iterator
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

Json = dict[str, Any]
F = FieldDescriptorProto
PACKAGE = "gollem.v1"
ERROR = "Error"

_SCALARS: dict[int, Json] = {
    F.TYPE_STRING: {"type": "string"},
    F.TYPE_BOOL: {"type": "boolean"},
    F.TYPE_INT32: {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    # JavaScript would round it.
    F.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,18}$"},
    F.TYPE_DOUBLE: {"type": "number", "format": "double"},
    F.TYPE_BYTES: {"type": "string", "format": "byte"},
}
_LIMITS = (
    ("x-max-price", "As bid.maxPrice; of both, the stricter counts."),
    ("x-max-latency", "Milliseconds, as bid.maxLatencyMs; of both, the stricter counts."),
)
_KEY = ("idempotency-key", "The id of the request, where its body has none.")
# Method -> headers that it obeys.
_HEADERS = {
    "Match": (*_LIMITS, _KEY),
    "Quote": _LIMITS,
    "Generate": (*_LIMITS, _KEY),
    "CreatePaymentIntent": (_KEY,),
    "RequestPayout": (_KEY,),
}
_STREAMS = ("application/x-ndjson", "text/event-stream")


def document(descriptors: bytes, services: tuple[str, ...]) -> str:
    """The document, for a serialized FileDescriptorSet with source info; `services` are those that are served."""
    files = [file for file in FileDescriptorSet.FromString(descriptors).file if file.package == PACKAGE]
    paths: Json = {}
    schemas: Json = {ERROR: _error()}
    for file in files:
        comments = _comments(file)
        schemas |= _schemas(file, comments)
        for path, verb, operation in _operations(file, comments, services, schemas):
            paths.setdefault(path, {})[verb] = operation
    _add_queries(paths, schemas)
    return json.dumps(_whole(paths, _reached(paths, schemas)), indent=1) + "\n"


def _whole(paths: Json, schemas: Json) -> Json:
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "GoLLeM",
            "version": "v1",
            "description": "An exchange for LLM inference. Decimals and 64-bit integers are strings.",
        },
        "security": [{"key": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
            "schemas": dict(sorted(schemas.items())),
        },
    }


def _operations(
    file: FileDescriptorProto, comments: dict[tuple[int, ...], str], services: tuple[str, ...], schemas: Json
) -> Iterator[tuple[str, str, Json]]:
    for place, service in enumerate(file.service):
        if f"{PACKAGE}.{service.name}" not in services:
            continue
        for number, method in enumerate(service.method):
            rule = method.options.Extensions[annotations_pb2.http]
            verb = rule.WhichOneof("pattern")
            if verb is None:
                continue
            request = _name(method.input_type)
            operation: Json = {
                "operationId": f"{service.name}.{method.name}",
                "tags": [service.name],
                "description": comments.get((6, place, 2, number), ""),
                "parameters": [_header(*each) for each in _HEADERS.get(method.name, ())],
                "responses": {
                    "200": {"description": "As asked.", "content": _content(method)},
                    "default": {
                        "description": "Refused; of `reason` and `metadata` in `details` programs may make use.",
                        "content": {"application/json": {"schema": _ref(ERROR)}},
                    },
                },
            }
            if rule.body:
                body = {"required": True, "content": {"application/json": {"schema": _ref(request)}}}
                operation["requestBody"] = body
            else:
                operation["x-query"] = request
            yield getattr(rule, verb), verb, operation


def _add_queries(paths: Json, schemas: Json) -> None:
    """Once all messages are known: what has no body takes its fields from the query."""
    for path in paths.values():
        for operation in path.values():
            request = operation.pop("x-query", None)
            for name, schema in schemas[request]["properties"].items() if request else ():
                bare = {key: value for key, value in schema.items() if key != "description"}
                about = schema.get("description", "")
                operation["parameters"].append({"name": name, "in": "query", "description": about, "schema": bare})


def _content(method: Any) -> Json:
    schema = {"schema": _ref(_name(method.output_type))}
    kinds = _STREAMS if method.server_streaming else ("application/json",)
    return dict.fromkeys(kinds, schema)


def _header(name: str, about: str) -> Json:
    return {"name": name, "in": "header", "description": about, "schema": {"type": "string"}}


def _schemas(file: FileDescriptorProto, comments: dict[tuple[int, ...], str]) -> Json:
    made: Json = {}
    for number, message in enumerate(file.message_type):
        made |= _message(message, message.name, (4, number), comments)
    for number, enum in enumerate(file.enum_type):
        made[enum.name] = _described({"type": "string", "enum": [v.name for v in enum.value]}, comments, (5, number))
    return made


def _message(message: DescriptorProto, name: str, path: tuple[int, ...], comments: dict[tuple[int, ...], str]) -> Json:
    """It and what is declared inside of it."""
    maps = {entry.name: entry for entry in message.nested_type if entry.options.map_entry}
    properties = {
        field.json_name: _described(_field(field, maps), comments, (*path, 2, number))
        for number, field in enumerate(message.field)
    }
    made: Json = {name: _described({"type": "object", "properties": properties}, comments, path)}
    for number, inner in enumerate(message.nested_type):
        if not inner.options.map_entry:
            made |= _message(inner, f"{name}.{inner.name}", (*path, 3, number), comments)
    for enum in message.enum_type:
        made[f"{name}.{enum.name}"] = {"type": "string", "enum": [value.name for value in enum.value]}
    return made


def _field(field: FieldDescriptorProto, maps: dict[str, DescriptorProto]) -> Json:
    entry = maps.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        return {"type": "object", "additionalProperties": _single(entry.field[1])}
    one = _single(field)
    return {"type": "array", "items": one} if field.label == F.LABEL_REPEATED else one


def _single(field: FieldDescriptorProto) -> Json:
    return dict(_SCALARS[field.type]) if field.type in _SCALARS else _ref(_name(field.type_name))


def _described(schema: Json, comments: dict[tuple[int, ...], str], path: tuple[int, ...]) -> Json:
    """What stands beside a reference is ignored in OpenAPI 3.0, so that a reference is wrapped."""
    if path not in comments:
        return schema
    return ({"allOf": [schema]} if "$ref" in schema else schema) | {"description": comments[path]}


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """By place. A comment above a group of fields is the first one's."""
    return {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in file.source_code_info.location
        if location.leading_comments
    }


def _error() -> Json:
    """google.rpc.Status with google.rpc.ErrorInfo, as the gateway writes it."""
    info = {
        "type": "object",
        "required": ["@type", "reason"],
        "properties": {
            "@type": {"type": "string"},
            "reason": {"type": "string", "description": "Stable, such as INVALID_FIELD."},
            "domain": {"type": "string"},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    return {
        "type": "object",
        "required": ["code", "message", "details"],
        "properties": {
            "code": {"type": "integer", "description": "The status of gRPC."},
            "message": {"type": "string", "description": "For people."},
            "details": {"type": "array", "minItems": 1, "items": info},
        },
    }


def _reached(paths: Json, schemas: Json) -> Json:
    """Those of the schemas that the routes speak of, directly or not."""
    found: set[str] = set()
    waiting = [paths]
    while waiting:
        for name in _references(waiting.pop()):
            if name not in found:
                found.add(name)
                waiting.append(schemas[name])
    return {name: schemas[name] for name in found}


def _references(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        if isinstance(tree.get("$ref"), str):
            yield tree["$ref"].rpartition("/")[2]
        for value in tree.values():
            yield from _references(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _references(value)


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _name(type_name: str) -> str:
    return type_name.removeprefix(f".{PACKAGE}.")
