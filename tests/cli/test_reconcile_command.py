"""`gollem ledger reconcile`, `backup`, `restore` as a person calls them: what they say, and their exit status."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gollem.cli.root import main
from tests.ledger.test_audit import books


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    await books(tmp_path / "ledger.db")
    return tmp_path


def gollem(*words: str) -> Result:
    return CliRunner().invoke(main, ["ledger", *words])


def test_sound_books(data: Path) -> None:
    told = gollem("reconcile", "--data", str(data), "--json")
    rows = [json.loads(line) for line in told.stdout.splitlines()]

    # The books of that test have a hold whose deadline is long past or still to come: only R4 may mind.
    assert [(row["check"], row["ok"]) for row in rows if row["check"] != "R4"] == [
        ("R1", True),
        ("R2", True),
        ("R3", True),
        ("R9", True),
    ]


def test_break_is_named_with_its_check_and_status_1(data: Path) -> None:
    with closing(sqlite3.connect(data / "ledger.db", isolation_level=None)) as connection:
        connection.execute("UPDATE account SET balance_atoms = balance_atoms + 1 WHERE account = 'U:alice'")

    told = gollem("reconcile", "--data", str(data), "--check", "R2", "--check", "R3")

    assert told.exit_code == 1
    assert "R2 trial balance: all accounts sum to 0.00000001, not to 0" in told.stdout
    assert "R3 U:alice: balance 8.50000001, legs sum to 8.50000000, difference 0.00000001" in told.stdout
    assert gollem("reconcile", "--data", str(data), "--check", "R1").exit_code == 0


def test_backup_and_restore(data: Path, tmp_path: Path) -> None:
    copy, new = tmp_path / "copy", tmp_path / "new"
    saved = gollem("backup", "--data", str(data), "--to", str(copy))
    put_back = gollem("restore", "--data", str(new), "--from", str(copy))
    again = gollem("restore", "--data", str(new), "--from", str(copy))

    assert (saved.exit_code, put_back.exit_code, again.exit_code) == (0, 0, 1)
    assert "4 transactions, 6 accounts: the books balance" in put_back.stdout
    assert "never overwritten" in again.output
    assert gollem("audit", "--data", str(new)).exit_code == 0


def test_backup_of_a_ledger_by_its_url(data: Path, tmp_path: Path) -> None:
    saved = gollem("backup", "--ledger", f"sqlite://{data}/ledger.db", "--to", str(tmp_path / "copy"))
    table = gollem("backup", "--ledger", "dynamodb://gollem", "--to", str(tmp_path / "other"))

    assert (saved.exit_code, table.exit_code) == (0, 1)
    assert "the books balance" in saved.stdout
    assert "is no ledger on SQLite" in table.output


def test_wrong_folder_makes_no_ledger(tmp_path: Path) -> None:
    assert gollem("reconcile", "--data", str(tmp_path / "no"), "--record").exit_code == 1
    assert not (tmp_path / "no" / "ledger.db").exists()


def test_payouts_that_are_not_halted(data: Path) -> None:
    told = gollem("resume-payouts", "--data", str(data), "--approver", "carol")
    assert (told.exit_code, told.stdout) == (0, "payouts are not halted\n")
