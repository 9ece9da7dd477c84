"""A table out of an export is the same table; an export with half of a transaction is refused, and it is said why."""

import json
import logging
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from gollem.errors import InvariantBroken, LedgerUnavailable
from gollem.ledger import open_ledger, rules
from gollem.ledger.dynamodb.rebuild import export_table, rebuild_table
from tests.contracts.samples import NOW_MS, hold_of, opening, state
from tests.ledger.test_audit import CREDIT
from tests.servers.dynamodb_local import make_table

Items = list[dict[str, dict[str, object]]]


def read(file: Path) -> Items:
    """All but the last line, which is about the others."""
    return [json.loads(line) for line in file.read_text().splitlines()][:-1]


def write(file: Path, items: Items) -> None:
    """As AWS would export it: such a file says nothing of its own wholeness."""
    file.write_text("".join(json.dumps({"Item": item}) + "\n" for item in items))


def cut_off(file: Path) -> None:
    file.write_text(file.read_text()[:-20])


@pytest.fixture
async def exported(dynamodb_table: str, tmp_path: Path) -> Path:
    """Of a grant, and of two holds of which one is settled."""
    ledger = await open_ledger(dynamodb_table)
    hold = hold_of("order-1", 2 * CREDIT)
    await ledger.post(rules.grant("g", "alice", 10 * CREDIT, NOW_MS))
    await ledger.post(opening(hold))
    await ledger.post(rules.settle(hold, CREDIT, CREDIT // 20, NOW_MS, "sold"))
    await ledger.post(opening(hold_of("order-2", CREDIT // 2)))
    await ledger.close()
    file = tmp_path / "export.jsonl"
    await export_table(dynamodb_table, file)
    return file


async def test_rebuilt_table_is_the_same(dynamodb_table: str, exported: Path, tmp_path: Path) -> None:
    url = await make_table(tmp_path / "another")
    count, findings = await rebuild_table(exported, url)

    assert (count, findings) == (len(read(exported)), [])
    old, new = await open_ledger(dynamodb_table), await open_ledger(url)
    assert await state(old) == await state(new)
    assert not (await new.post(opening(hold_of("order-2", CREDIT // 2)))).applied
    await old.close()
    await new.close()
    with pytest.raises(LedgerUnavailable, match="not empty"):
        await rebuild_table(exported, url)
    with pytest.raises(LedgerUnavailable, match="cannot be made"):
        await export_table(url, exported)


def without(pk: str) -> Callable[[Items], Items]:
    return lambda items: [item for item in items if item["pk"]["S"] != pk]


HALVES = {
    "its entry": (without("T#hold:order-2"), "H:order-2: balance 0.50000000, legs sum to 0.00000000"),
    "its hold": (without("H#order-2"), "H:order-2: balance 0.00000000, legs sum to 0.50000000"),
    "its user": (without("A#U:alice"), "U:alice: balance 0.00000000, legs sum to 8.50000000"),
}


@pytest.mark.parametrize(("cut", "finding"), HALVES.values(), ids=HALVES.keys())
async def test_half_of_a_transaction_is_refused(
    exported: Path, tmp_path: Path, cut: Callable[[Items], Items], finding: str
) -> None:
    write(exported, cut(read(exported)))
    url = await make_table(tmp_path / "another")

    count, findings = await rebuild_table(exported, url)

    assert count == 0
    assert any(line.startswith(finding) for line in findings), findings
    ledger = await open_ledger(url)
    assert (await ledger.audit()).transactions == 0
    await ledger.close()


def without_the_last_line(file: Path) -> None:
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))


def without_a_statement_line(file: Path) -> None:
    """The books balance without it."""
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if '"L#U:alice' not in line))


def with_another_name(file: Path) -> None:
    """Half of the table's readers would take the missing attribute for nothing."""
    file.write_bytes(file.read_bytes().replace(b'"remaining"', b'"remaininf"', 1))


def with_a_high_bit(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"terms"', b'"t\xe5rms"', 1))


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [cut_off, without_the_last_line, without_a_statement_line, with_another_name, with_a_high_bit, empty],
)
async def test_damaged_file_is_refused(exported: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    damage(exported)
    url = await make_table(tmp_path / "another")
    with pytest.raises(InvariantBroken, match=r"line \d+.*damaged or cut off"):
        await rebuild_table(exported, url)

    ledger = await open_ledger(url)
    assert (await ledger.audit()).transactions == 0
    await ledger.close()


async def test_flipped_bits_are_refused_wherever_they_are(exported: Path, dynamodb_table: str) -> None:
    whole = exported.read_bytes()
    places = random.Random(7)
    for _ in range(300):
        spoilt = bytearray(whole)
        spoilt[places.randrange(len(spoilt))] ^= 1 << places.randrange(8)
        exported.write_bytes(spoilt)
        with pytest.raises(InvariantBroken):
            await rebuild_table(exported, dynamodb_table)


async def test_export_of_awss_own_is_taken_and_it_is_said_that_it_may_be_cut(
    exported: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    count = len(read(exported))
    write(exported, read(exported))
    url = await make_table(tmp_path / "another")

    with caplog.at_level(logging.WARNING):  # whatever other tests have left the root logger at
        assert await rebuild_table(exported, url) == (count, [])
    assert "nothing in it shows whether it is whole" in caplog.text


async def test_item_of_awss_export_that_cannot_be_read_is_named_by_its_line(
    exported: Path, dynamodb_table: str
) -> None:
    items = read(exported)
    place = next(number for number, item in enumerate(items) if item["pk"]["S"] == "H#order-2")
    items[place]["state"] = {"S": "OPFN"}
    write(exported, items)
    with pytest.raises(InvariantBroken, match=f"line {place + 1}: H#order-2: the item is damaged"):
        await rebuild_table(exported, dynamodb_table)
