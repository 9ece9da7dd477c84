"""Seals: a Merkle root over a day's entries, chained to the day's before, so that the past cannot be changed unseen.

The leaves are the entries' digests, recomputed from what the journal says and sorted by key. A copy of each seal
outside of the store, one JSON object a line, also shows when somebody has changed the entries and their seals.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from gollem.errors import InvariantBroken
from gollem.ledger import records
from gollem.ledger.audit import seal
from gollem.ledger.interface import Ledger
from gollem.ledger.types import Check, Finding, Record

_PAGE = 1_000
_MAX_FINDINGS = 100


async def seal_day(ledger: Ledger, day: str, previous: Record | None, until: int, now_ms: int) -> Record:
    """The seal of everything after the previous one's last entry up to and with `until`."""
    after = previous.number("until") if previous else 0
    root, count = await _root(ledger, after, until)
    chain = _digest(b"\x02", previous.text("chain").encode() if previous else b"", root.encode())
    fields: dict[str, str | int] = {
        "after": after,
        "until": until,
        "entries": count,
        "root": root,
        "chain": chain,
        "at_ms": now_ms,
    }
    return Record(records.SEAL, day, "SEALED", fields)


async def all_seals(ledger: Ledger) -> list[Record]:
    """One a day, the oldest first."""
    found: list[Record] = []
    while page := await ledger.records(records.SEAL, "SEALED", found[-1].id if found else ""):
        found += page
    return found


async def verify(ledger: Ledger, seals: Sequence[Record], copies: Iterable[Record], last: int) -> list[Finding]:
    """What does not agree: the chain, the copies, and the entries of the `last` days."""
    found = _unlike_copies(seals, {copy.id: copy.text("chain") for copy in copies})
    for place, one in enumerate(seals):
        previous = seals[place - 1] if place else None
        if (previous.number("until") if previous else 0) != one.number("after"):
            found.append(f"seal {one.id}: does not begin where the one before ends")
        chain = _digest(b"\x02", previous.text("chain").encode() if previous else b"", one.text("root").encode())
        if chain != one.text("chain"):
            found.append(f"seal {one.id}: is not chained to the one before")
    for one in seals[-last:] if last else ():
        root, count = await _root(ledger, one.number("after"), one.number("until"))
        if count != one.number("entries"):
            found.append(f"seal {one.id}: {one.number('entries')} entries were sealed, {count} are there")
        elif root != one.text("root"):
            found.append(f"seal {one.id}: its entries are not what was sealed")
    return [Finding(Check.SEALS, text) for text in found[:_MAX_FINDINGS]]


def _unlike_copies(seals: Sequence[Record], copied: Mapping[str, str]) -> list[str]:
    """The newest seals may still be without a copy."""
    known = {one.id: one.text("chain") for one in seals}
    last = max(copied, default="")
    found = [f"seal {day}: is in the copy, but not in the books" for day in copied if day not in known]
    return found + [
        f"seal {day}: is not what its copy says"
        for day, chain in known.items()
        if day <= last and copied.get(day, chain if day < min(copied) else "") != chain
    ]


def read_copies(path: Path) -> list[Record]:
    """The seals in the file outside; none if there is no file yet. Raises InvariantBroken for one that is damaged."""
    if not path.exists():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [Record(records.SEAL, line.pop("day"), "SEALED", line) for line in lines]
    except (ValueError, KeyError, AttributeError) as error:
        raise InvariantBroken(f"{path} has a line that is no seal: {error}") from error


def write_copy(path: Path, one: Record) -> None:
    """Append it to the file outside, durably."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, (json.dumps({"day": one.id, **one.fields}) + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _root(ledger: Ledger, after: int, until: int) -> tuple[str, int]:
    """The Merkle root, and of how many entries. Memory: some 100 bytes an entry of the day."""
    leaves: list[tuple[str, str]] = []
    while page := await ledger.journal(after, until, _PAGE):
        leaves += [(entry.key, seal(entry)) for entry in page]
        after = page[-1].sequence
    return merkle_root([digest for _, digest in sorted(leaves)]), len(leaves)


def merkle_root(digests: Sequence[str]) -> str:
    """Leaves and inner nodes are hashed apart; of a level's odd last one its own digest moves up."""
    level = [_digest(b"\x00", digest.encode()) for digest in digests]
    while len(level) > 1:
        pairs = [_digest(b"\x01", *map(str.encode, level[at : at + 2])) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) // 2 * 2 :]
    return level[0] if level else _digest(b"\x00")


def _digest(domain: bytes, *parts: bytes) -> str:
    return blake2b(domain + b"".join(parts), digest_size=32).hexdigest()
