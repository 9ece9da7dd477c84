"""The commands of clients/grpcurl.md and of its like, as a reader would paste them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "clients" / "grpcurl.md"
ADDRESS = "127.0.0.1:50051"

_BLOCK = re.compile(r"^```sh(?: (?P<mark>\w+))?\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_KEY_LINE = re.compile(r"^ {4}export \w+=.*$", re.MULTILINE)
_COMMAND_START = re.compile(r"^(?=(?:grpcurl|curl) )", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """`mark` is "" for a command that must succeed, "fails" for one refused by design, "keep" for one without end."""

    text: str
    mark: str


def key_commands(document: Path = DOCUMENT) -> list[str]:
    """The lines that make the keys and put them into the environment."""
    return [line.strip() for line in _KEY_LINE.findall(document.read_text())]


def commands(address: str, document: Path = DOCUMENT, written: str = ADDRESS) -> Iterator[Command]:
    """All of them in order, for a server at `address` and not the `written` one. A block marked "keep" is one."""
    for block in _BLOCK.finditer(document.read_text()):
        mark, text = block["mark"] or "", block["text"].replace(written, address)
        parts = [text] if mark == "keep" else [part for part in _COMMAND_START.split(text) if part.strip()]
        for part in parts:
            yield Command(part, mark)
