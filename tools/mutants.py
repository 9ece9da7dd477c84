"""Break the ledger on purpose, one line at a time, and demand that a test sees it: `python tools/mutants.py`.

Each mutant (tests/mutants.py) is planted in a copy of the tree, and the tests it names are run there. Survivors, texts
that are not found any more, and tests that are red without any mutant make the run fail. Writes docs/mutants.md.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.mutants import MUTANTS, Mutant, Tests  # noqa: E402

PAGE = ROOT / "docs" / "mutants.md"
LIMIT_S = 180
_HUNG = -9
MAX_NAMED = 3  # failed tests to name: the run stops there
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "node_modules", "data")
_HEAD = """# Mutants
Every line that guards money is broken once, and the tests have to notice. `make mutants` plants each of these in a copy
of the tree, runs the tests named for it in `tests/mutants.py`, and writes this page. A survivor fails the run.

| what is broken | where | caught by |
|---|---|---|
"""


@dataclass(frozen=True)
class Verdict:
    """What the tests said to one mutant: those that failed, or why there are none."""

    mutant: Mutant
    failed: tuple[str, ...]
    problem: str = ""


def judge(tree: Path, mutant: Mutant) -> Verdict:
    """Plant the mutant in the tree, run its tests, and take it out again."""
    file = tree / mutant.file
    sound = file.read_text()
    if sound.count(mutant.text) != 1:
        return Verdict(mutant, (), f"its text is found {sound.count(mutant.text)} times in {mutant.file}")
    file.write_text(sound.replace(mutant.text, mutant.replacement))
    try:
        code, said = run_tests(tree, mutant.tests)
        if code == _HUNG:  # what is broken may stop for ever, or not: the second time tells which test sees it
            code, said = run_tests(tree, mutant.tests)
    finally:
        file.write_text(sound)
    failed = tuple(sorted({_name(line) for line in said.splitlines() if line.startswith("FAILED ")}))
    if code == 1 and failed:
        return Verdict(mutant, failed)
    return Verdict(mutant, failed, "survived" if code == 0 else f"pytest ended with {code}: {said[-2_000:]}")


def run_tests(tree: Path, tests: Tests) -> tuple[int, str]:
    """pytest's exit status and what it said. Compiled files are left unwritten: a mutant of the same second and size
    would be taken for the sound file."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", f"--maxfail={MAX_NAMED}"]
    # In sessions of their own, so that a test that hangs is ended with all that it started.
    process = subprocess.Popen(
        [*command, *tests.files, "-k", tests.only],
        cwd=tree,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "400"},
    )
    try:
        said, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        said, _ = process.communicate()
        return _HUNG, f"not done after {LIMIT_S} s\n{said}"
    return process.returncode, said


def _name(line: str) -> str:
    """`FAILED tests/ledger/test_x.py::Class::test_y[case] - why` -> `test_x.py::test_y`."""
    path, *names = line.removeprefix("FAILED ").split(" - ")[0].split("::")
    return f"{Path(path).name}::{names[-1].split('[')[0]}"


@contextmanager
def copies(number: int) -> Iterator[SimpleQueue[Path]]:
    """Copies of the tree, compiled core included, for as many to work in at once."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for place in range(number):
            tree = Path(folder, str(place))
            shutil.copytree(ROOT, tree, ignore=_LEFT_OUT)
            (tree / ".cache").symlink_to(ROOT / ".cache")  # DynamoDB Local
            trees.put(tree)
        yield trees


def together(mutants: list[Mutant]) -> list[Tests]:
    """All tests that the mutants name, each file once."""
    chosen: dict[tuple[str, ...], list[str]] = {}
    for mutant in mutants:
        chosen.setdefault(mutant.tests.files, []).append(f"({mutant.tests.only})" if mutant.tests.only else "")
    return [Tests(files, " or ".join(dict.fromkeys(only)) if all(only) else "") for files, only in chosen.items()]


def run_all(mutants: list[Mutant], workers: int) -> list[Verdict]:
    """The verdicts in the order of the mutants. Raises SystemExit if the tests are red without any."""
    with copies(workers) as trees, ThreadPoolExecutor(workers) as pool:

        def sound(tests: Tests) -> str:
            tree = trees.get()
            code, said = run_tests(tree, tests)
            trees.put(tree)
            return said[-4_000:] if code else ""

        def work(mutant: Mutant) -> Verdict:
            tree = trees.get()
            start = time.monotonic()
            verdict = judge(tree, mutant)
            trees.put(tree)
            said = verdict.problem or ", ".join(verdict.failed)
            print(f"{time.monotonic() - start:5.1f} s  {mutant.name}: {said}", flush=True)
            return verdict

        for said in pool.map(sound, together(mutants)):
            if said:
                raise SystemExit(f"red without any mutant, so nothing can be told:\n{said}")
        return list(pool.map(work, mutants))


def page(verdicts: list[Verdict]) -> str:
    rows = [
        f"| {verdict.mutant.name} | `{verdict.mutant.file}` | {', '.join(f'`{name}`' for name in verdict.failed)} |"
        for verdict in verdicts
    ]
    foot = f"{len(rows)} mutants, none survived. Of the tests that failed, at most {MAX_NAMED} are named."
    return _HEAD + "\n".join(rows) + f"\n\n{foot}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", default="", metavar="PATTERN", help="only mutants whose name and file it is found in")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    mutants = [mutant for mutant in MUTANTS if re.search(chosen.k, f"{mutant.name} {mutant.file}")]
    verdicts = run_all(mutants, chosen.workers)
    problems = [verdict for verdict in verdicts if verdict.problem]
    if problems:
        raise SystemExit("\n".join(f"{verdict.mutant.name}: {verdict.problem}" for verdict in problems))
    if not chosen.k:
        PAGE.write_text(page(verdicts))


if __name__ == "__main__":
    main()
