"""Seals: a Merkle root over a day's entries, chained to the day's before, so that the past cannot be changed unseen.

The leaves are the entries' digests, recomputed from what the journal says and sorted by key. A copy of each seal
outside of the store, one JSON object a line, also shows when somebody has changed the entries and their seals.
"""

import json
import os
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

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


async def verify(ledger: Ledger, seals: Sequence[Record], copies: Sequence[Record] | None, last: int) -> list[Finding]:
    """What does not agree: the chain, the copies (None: none are kept), and the entries of the `last` days."""
    found = _broken_chain(seals)
    if copies is not None:
        # The newest may be on its way.
        missing = _without_copy(seals[:-1], copies)
        found += _unlike_copies(seals, copies)
        found += [f"seal {one.id}: has no line in the copy, which the next sealing adds" for one in missing]
    for one in seals[-last:] if last else ():
        root, count = await _root(ledger, one.number("after"), one.number("until"))
        if count != one.number("entries"):
            found.append(f"seal {one.id}: {one.number('entries')} entries were sealed, {count} are there")
        elif root != one.text("root"):
            found.append(f"seal {one.id}: its entries are not what was sealed")
    return [Finding(Check.SEALS, text) for text in found[:_MAX_FINDINGS]]


def _broken_chain(seals: Sequence[Record]) -> list[str]:
    found: list[str] = []
    for previous, one in zip([None, *seals], seals, strict=False):
        if (previous.number("until") if previous else 0) != one.number("after"):
            found.append(f"seal {one.id}: does not begin where the one before ends")
        chain = _digest(b"\x02", previous.text("chain").encode() if previous else b"", one.text("root").encode())
        if chain != one.text("chain"):
            found.append(f"seal {one.id}: is not chained to the one before")
    return found


def _unlike_copies(seals: Sequence[Record], copies: Iterable[Record]) -> list[str]:
    known = {one.id: one.text("chain") for one in seals}
    unlike = {copy.id for copy in copies if known.get(copy.id) != copy.text("chain")}
    return [
        f"seal {day}: is not what its copy says"
        if day in known
        else f"seal {day}: is in the copy, but not in the books"
        for day in sorted(unlike)
    ]


def _without_copy(seals: Sequence[Record], copies: Iterable[Record]) -> list[Record]:
    copied = {copy.id for copy in copies}
    return [one for one in seals if one.id not in copied]


def read_copies(path: Path) -> list[Record]:
    """The seals in the file outside; none if there is no file yet. A line that is no seal, such as one that a crash cut
    off, says nothing: its day counts as missing."""
    if not path.exists():
        return []
    copies = map(_copy_of, path.read_bytes().splitlines())
    return [copy for copy in copies if copy]


def _copy_of(line: bytes) -> Record | None:
    try:
        fields = json.loads(line)
        return Record(records.SEAL, str(fields.pop("day")), "SEALED", fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def complete_copy(path: Path, seals: Sequence[Record]) -> list[Record]:
    """Add what the file outside lacks, and return it: a crash may come between a seal and its copy, and another server
    may have sealed. The chain proves that a seal between two that are copied is the one that was missed. Nothing is
    added to seals that have been tampered with, lest that be covered up."""
    copies = read_copies(path)
    missing = _without_copy(seals, copies)
    if not missing or _broken_chain(seals) or _unlike_copies(seals, copies):
        return []
    write_copy(path, missing)
    return missing


def write_copy(path: Path, seals: Iterable[Record]) -> None:
    """Append them to the file outside, durably, each on a line of its own even if the last one was cut off."""
    lines = [json.dumps({"day": one.id, **one.fields}).encode() + b"\n" for one in seals]
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "rb+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            lines.insert(0, b"\n")
        content = b"".join(lines)
        if file.write(content) != len(content):
            raise OSError(f"{path}: only a part was written")
        os.fsync(descriptor)


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
