"""Names in Redis. What is changed together has one hash tag, so that it lies in one slot of a Cluster.

The number after `gollem` is that of the layout: a release that lays things out otherwise takes another, and shares
nothing with nodes of this one.
"""

from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

_PREFIX = "gollem:1:"
NODES = f"{_PREFIX}{{nodes}}"
PARTITIONS = f"{_PREFIX}{{nodes}}:partitions"


def partition_of(model: str, partitions: int) -> int:
    """The same on every node, whatever its Python."""
    return crc32(model.encode()) % partitions


@dataclass(frozen=True)
class PartitionKeys:
    """Of one partition: `head` has its epoch and the number of its last batch, `changes` is the stream of batches,
    `asks` and `heard` the newest state of each ask."""

    number: int

    @cached_property
    def head(self) -> str:
        return self._name("head")

    @cached_property
    def changes(self) -> str:
        return self._name("changes")

    @cached_property
    def asks(self) -> str:
        return self._name("asks")

    @cached_property
    def heard(self) -> str:
        return self._name("heard")

    def sent_by(self, sender: str) -> str:
        """The number of the last batch that one node sent."""
        return self._name(f"sent:{sender}")

    def leases(self, ask_key: str) -> tuple[str, str]:
        """Who holds what of an ask, and until when."""
        return self._name(f"leases:{ask_key}"), self._name(f"due:{ask_key}")

    def _name(self, what: str) -> str:
        return f"{_PREFIX}{{p{self.number}}}:{what}"
