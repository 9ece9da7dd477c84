"""A release that is not written yet: this one's code, copied and changed as later ones may be, in a process of its own.

python later_release.py redis://...      with the copy first on the path: reads words, a line each, answers as JSON
"""

import asyncio
import json
import shutil
import sys
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_IGNORED = shutil.ignore_patterns("__pycache__", "cli", "payments", "ledger", "exchange", "rpc")
# Everything that the wire forms allow a later release to do. File -> text of today, found once -> its later text.
CHANGES = {
    "nodes/wire.py": [
        # Parts behind the parts, a field of asks, a kind of change: all under the same number.
        ("return json.dumps(_parts(change)", 'return json.dumps([*_parts(change), {"why": "later"}]'),
        ('["placed", asdict(ask),', '["placed", asdict(ask) | {"colour": "red"},'),
        (
            "return f\"[{FORM},{json.dumps(sender)},[{','.join(encoded)}]]\"",
            'items = [*encoded, \'["blessed","p/a",{"by":7}]\']\n'
            '    return f"[{FORM},{json.dumps(sender)},[{\',\'.join(items)}],\\"signed\\"]"',
        ),
    ],
    "nodes/functions.lua": [
        ("register('beat', beat, {})", "register('beat', beat, {})\nregister('bless', head, {})"),
        ("local function reap(", "-- Later.\nlocal function reap("),
    ],
    "nodes/roll.py": [('"version": self.version,', '"version": self.version, "mood": ["good"],')],
}


def copy(folder: Path) -> Path:
    """A folder for PYTHONPATH with the later release. Fails where the text to change is not there any more."""
    shutil.copytree(ROOT / "gollem", folder / "gollem", ignore=_IGNORED)
    for name, changes in CHANGES.items():
        file = folder / "gollem" / name
        text = file.read_text()
        for old, new in changes:
            assert text.count(old) == 1, f"{name}: {old!r} is there {text.count(old)} times"
            text = text.replace(old, new)
        file.write_text(text)
    return folder


class Seen:
    """A Listener that keeps prices by ask, and kinds of changes."""

    def __init__(self) -> None:
        self.prices: dict[str, int] = {}
        self.kinds: set[str] = set()

    def apply(self, changes: Sequence[Any]) -> None:
        for change in changes:
            self.kinds.add(type(change).__name__)
            if hasattr(change, "ask"):
                self.prices[change.ask_key] = change.ask.price_ticks

    def retain(self, partition: int, ask_keys: Set[str]) -> None:
        pass

    def restore(self, partition: int) -> None:
        pass


async def main(url: str) -> None:
    from gollem.clock import SystemClock
    from gollem.config import NodesConfig
    from gollem.nodes import Lease, open_shared_book
    from gollem.nodes.wire import encode
    from tests.nodes.samples import MODEL, a_claim, heard, placed

    assert "colour" in encode(placed(1)), "this is the release of today"
    config = NodesConfig(book=url, name="later", partitions=2, flush_ms=2, heartbeat_ms=50, claim_timeout_ms=5_000)
    node, seen = open_shared_book(config, "later", SystemClock()), Seen()
    await node.start(seen)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        word, *rest = line.split()
        answer: object = None
        if word == "announce":
            node.announce(placed(7, price_ticks=int(rest[0])))
            node.announce(heard(7))
        elif word == "claim":
            answer = getattr(await node.claim(a_claim(rest[0], slots=1)), "fence", 0)
        elif word == "release":
            answer = await node.release(Lease(rest[0], "provider-1/ask", MODEL, 10, int(rest[1])))
        elif word == "seen":
            answer = {"prices": seen.prices, "kinds": sorted(seen.kinds)}
        elif word == "nodes":
            answer = {each.name: each.version for each in await node.nodes()}
        print(json.dumps(answer), flush=True)
    await node.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
