"""Stripe's form encoding: `metadata[a]=b`, `expand[0]=c` and `expand[]=c` become nested mappings and lists."""

import re
from typing import Any
from urllib.parse import parse_qsl

_PARTS = re.compile(r"[^\[\]]+|\[\]")


def parse_form(text: str) -> dict[str, Any]:
    """Numbers stay text, as they came."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        parts = _PARTS.findall(name)
        node = tree
        for part in parts[:-1]:
            node = node.setdefault(part, {})
        last = parts[-1] if parts[-1] != "[]" else str(len(node))
        node[last] = value
    return {name: _with_lists(value) for name, value in tree.items()}


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    filled = {name: _with_lists(value) for name, value in node.items()}
    if filled and all(name.isdigit() for name in filled):
        return [filled[name] for name in sorted(filled, key=int)]
    return filled
