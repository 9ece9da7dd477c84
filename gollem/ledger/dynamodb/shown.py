"""Whether statements show what the journal has: each entry's legs against the lines of its owners. Pure.

Only what was there before the scan began is compared, which is what is numbered below `since`. An item of several lines
is numbered as its first; those of them that are newer are known by their entries, which were written with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gollem.errors import InvariantBroken
from gollem.ledger.accounts import statement_of
from gollem.ledger.dynamodb import items, lines
from gollem.ledger.dynamodb.items import Item
from gollem.ledger.dynamodb.pace import MARGIN_MS
from gollem.ledger.types import Entry, StatementLine
from gollem.units import format_fixed


@dataclass(slots=True)
class _Difference:
    """Lines less legs: how many, their atoms, and the sum of the hashes of all that a line says."""

    lines: int = 0
    atoms: int = 0
    hashes: int = 0

    def add(self, sign: int, line: tuple[str, str, int, str, int]) -> None:
        self.lines += sign
        self.atoms += sign * line[2]
        self.hashes += sign * hash(line)

    def __bool__(self) -> bool:
        return bool(self.lines or self.atoms or self.hashes)


class Shown:
    """What has been read so far. Memory: owners of whom not all was read, and the lines of one minute."""

    def __init__(self, since: int) -> None:
        self._since = since
        self._all_before = items.first_number(max(items.moment_ms(since) - MARGIN_MS, 0))  # no item reaches that far
        self._differences: dict[str, _Difference] = {}
        self._at_the_edge: list[tuple[str, StatementLine]] = []
        self._damaged: set[str] = set()

    def add_entry(self, entry: Entry) -> None:
        if entry.sequence >= self._since:
            return
        for leg in entry.legs:
            owner = statement_of(leg.account, entry.kind)
            if owner:
                self._add(owner, -1, (entry.key, entry.kind, leg.amount_atoms, entry.order_id, entry.at_ms))

    def add_lines(self, item: Item) -> None:
        """Raises InvariantBroken for one that is damaged, and concludes nothing about its owner."""
        owner = items.name_of(item)[2:].rpartition("#")[0]
        try:
            number, found = lines.number_of(item), lines.read_lines(item)
        except InvariantBroken:
            self._damaged.add(owner)
            raise
        if number >= self._since:
            return
        for line in found:
            if number < self._all_before:
                self._add_line(owner, line)
            else:
                self._at_the_edge.append((owner, line))

    def findings(self, newer: set[str]) -> Iterator[str]:
        """When all was read. `newer`: the names of the entries from `since` on."""
        for owner, line in self._at_the_edge:
            if items.name_of(items.entry_key(line.key)) not in newer:
                self._add_line(owner, line)
        self._at_the_edge.clear()
        for owner, one in sorted(self._differences.items()):
            if owner not in self._damaged:
                differs = f"{one.lines:+} lines, {format_fixed(one.atoms)} credits"
                yield f"statement of {owner}: is not what the journal says: {differs}"

    def _add_line(self, owner: str, line: StatementLine) -> None:
        self._add(owner, 1, (line.key, line.kind, line.amount_atoms, line.order_id, line.at_ms))

    def _add(self, owner: str, sign: int, line: tuple[str, str, int, str, int]) -> None:
        difference = self._differences.setdefault(owner, _Difference())
        difference.add(sign, line)
        if not difference:
            del self._differences[owner]
