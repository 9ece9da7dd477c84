"""Whatever lies in a package beside its Python goes into the wheel, unless it is the extension's source."""

import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
# Compiled into the extension, or built from it.
COMPILED = (".pyx", ".pxd", ".pxi", ".h", ".c", ".so", ".py", ".pyc")


def data_files(folder: Path, package: str) -> list[str]:
    """Of one package, relative to it, as git knows them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", package],
        cwd=folder, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    return [name.partition("/")[2] for name in listed if PurePosixPath(name).suffix not in COMPILED]


def is_packed(name: str, patterns: list[str]) -> bool:
    """As setuptools reads them: `**/` may also be nothing."""
    variants = {variant for pattern in patterns for variant in (pattern, pattern.removeprefix("**/"))}
    return any(fnmatch(name, variant) for variant in variants)


@pytest.mark.parametrize("folder", [ROOT, ROOT / "clients/python"], ids=["exchange", "client"])
def test_every_data_file_is_named_by_a_pattern(folder: Path) -> None:
    settings = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package, patterns in settings["package-data"].items():
        found = data_files(folder, package)
        assert found, package
        assert [name for name in found if not is_packed(name, patterns)] == []


def test_every_package_has_patterns() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert {f"{package}*" for package in settings["package-data"]} == set(settings["packages"]["find"]["include"])
