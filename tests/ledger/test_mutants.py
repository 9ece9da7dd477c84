"""The mutants are still where they were: a guard that moved takes its mutant along."""

from pathlib import Path

import pytest

from tests.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_has_its_place(mutant: Mutant) -> None:
    sound = (ROOT / mutant.file).read_text()

    assert sound.count(mutant.text) == 1
    assert mutant.replacement != mutant.text
    assert all((ROOT / test).is_file() for test in mutant.tests.files)


def test_names_are_different() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
