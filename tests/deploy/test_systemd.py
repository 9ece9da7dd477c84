"""The units of deploy/systemd: systemd itself finds no fault in them, and little that they leave open.

That systemd is not installed fails loudly: units that it has not looked at must not look as if it had.
"""

import configparser
import subprocess
from pathlib import Path

import pytest

from gollem.config import Config

FOLDER = Path(__file__).parents[2] / "deploy/systemd"
UNITS = sorted(FOLDER.glob("*.service"))
# Of 10.
MOST_EXPOSURE = {"gollem-exchange.service": 1.5, "gollem-agent.service": 2.0, "gollem-gateway.service": 1.5}


def service(unit: Path) -> dict[str, str]:
    """The section [Service]; of a key that comes twice, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit)
    return dict(parser["Service"])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_no_fault(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    faults = [line for line in done.stderr.splitlines() if "is not executable: No such file" not in line]
    assert faults == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_little_is_left_open(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=100", "--no-pager", unit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    [line] = [line for line in done.stdout.splitlines() if "Overall exposure level" in line]
    assert float(line.rpartition(": ")[2].split()[0]) <= MOST_EXPOSURE[unit.name]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_nobody_runs_it_as_somebody(unit: Path) -> None:
    settings = service(unit)
    assert settings["DynamicUser"] == settings["NoNewPrivileges"] == "yes"
    assert settings["ProtectSystem"] == "strict"
    assert settings["CapabilityBoundingSet"] == ""
    assert settings["Restart"] == "always"


def test_the_data_folder_is_the_one_that_systemd_makes() -> None:
    settings = service(FOLDER / "gollem-exchange.service")
    assert settings["Environment"] == f"GOLLEM_STORAGE_DATA=/var/lib/{settings['StateDirectory']}"
    assert settings["StateDirectoryMode"] == "0700"


def test_the_gateway_may_hold_its_connections_and_gets_no_secret_of_the_exchange() -> None:
    settings = service(FOLDER / "gollem-gateway.service")
    gateway = Config().gateway
    assert int(settings["LimitNOFILE"]) > gateway.max_connections + gateway.max_requests
    assert "EnvironmentFile" not in settings


def test_there_is_time_to_drain() -> None:
    for name, drain_ms in (("gollem-exchange", Config().server.drain_timeout_ms), ("gollem-agent", 30_000)):
        assert int(service(FOLDER / f"{name}.service")["TimeoutStopSec"]) * 1_000 > drain_ms


def test_no_secret_is_on_a_command_line() -> None:
    words = " ".join(service(unit)["ExecStart"] for unit in UNITS).split()
    assert "--api-key-file" in words
    assert "${CREDENTIALS_DIRECTORY}/key" in words
    assert words[words.index("--private-key") + 1] == "${CREDENTIALS_DIRECTORY}/private-key"
    assert [word for word in words if word.startswith("GOLLEM_") or "secret" in word] == []
