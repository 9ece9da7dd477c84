"""The house keeps its rules: layers, doors, vendors, no cycles, sizes. And each rule is seen to catch its fault."""

from pathlib import Path

import pytest

from tests import architecture

ROOT = Path(__file__).resolve().parent.parent


def test_house_keeps_its_rules() -> None:
    assert architecture.faults(architecture.read(ROOT)) == []


FAULTS = {
    "a lower room imports a higher one": ("gollem/units.py", "import gollem.config", "units may not import config"),
    "siblings import each other": ("gollem/market/types.py", "import gollem.ledger", "market may not import ledger"),
    "an unknown room": ("gollem/attic.py", "import gollem.units", "is no room of the table"),
    "past the door": ("gollem/cli/x.py", "import gollem.market.types", "imports gollem.market.types past its door"),
    "the agent imports the exchange": ("provider_agent/x.py", "from gollem import units", "may not import gollem"),
    "the guard knows GoLLeM": ("grpclib_guard/x.py", "import gollem_client", "may not import gollem_client"),
    "a vendor strays": ("gollem/market/types.py", "import grpclib.client", "grpclib belongs to"),
    "a float sneaks in as a decimal": ("gollem/ledger/types.py", "from decimal import Decimal", "decimal belongs to"),
    "an unknown vendor": ("gollem/market/types.py", "import numpy", "numpy is not in the table"),
    "a heavy door": ("gollem/ledger/__init__.py", "import sqlite3", "gollem.ledger: its door loads sqlite3"),
    "a cycle, though lazy": (
        "gollem/market/types.py",
        "def f():\n    import gollem.market.book",
        "cycle: gollem.market.book -> gollem.market.types -> gollem.market.book",
    ),
    "a long function": ("gollem/market/types.py", "def f():\n" + "    1\n" * 60, "f has 61 lines"),
    "a long file": ("gollem/market/types.py", "1\n" * 600, "lines, of 600 at most"),
}


@pytest.mark.parametrize(("file", "code", "finding"), FAULTS.values(), ids=FAULTS.keys())
def test_planted_fault_is_found(file: str, code: str, finding: str) -> None:
    found = architecture.faults(architecture.read(ROOT, {file: f"\n{code}\n"}))

    assert any(finding in line for line in found), found
