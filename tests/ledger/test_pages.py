"""The pages that name tests name tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["docs/faults.md", "docs/conformance.md"])
def test_every_test_named_is_there(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / page).read_text()))
    defined = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        defined |= set(re.findall(r"def (test_\w+)\(", file.read_text()))

    assert len(named) > 10
    assert named - defined == set()


@pytest.mark.parametrize("page", ["docs/faults.md", "docs/conformance.md"])
def test_every_file_named_is_there(page: str) -> None:
    named = re.findall(r"`((?:tests|gollem|docs)/[\w/]+\.\w+)`", (ROOT / page).read_text())

    assert [file for file in named if not (ROOT / file).is_file()] == []


def test_every_fault_has_its_row() -> None:
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "docs/faults.md").read_text(), re.MULTILINE)

    assert [int(row) for row in rows] == list(range(1, 64))


def test_every_fault_of_money_is_tried_on_dynamodb_too() -> None:
    page = (ROOT / "docs/faults.md").read_text()
    rows = re.findall(r"^\| \d+ \|.*", page[page.index("## Money in and out") :], re.MULTILINE)
    marks = r"^@(?:ON_EVERY_LEDGER|pytest\.mark\.parametrize\(.backend., BACKENDS\))\n(?:[@ )\]].*\n)*"
    tried = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        tried |= set(re.findall(marks + r"async def (test_\w+)", file.read_text(), re.MULTILINE))
    without = [row for row in rows if not tried & set(re.findall(r"`(test_\w+)`", row))]

    assert without == []
