"""What the real parts cost, as measured: kept in calibration.toml, renewed by `make simulate-scale CALIBRATE=1`."""

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FILE = Path(__file__).with_name("calibration.toml")
_HEAD = "# Measured by benchmarks/scale/calibrate.py; `make simulate-scale CALIBRATE=1` writes it anew.\n"


@dataclass(frozen=True)
class Calibration:
    """CPU times are microseconds of one core; those of a call of Redis have its way in and out in them."""

    made: str
    machine: str
    load_average: float
    redis_version: str
    claim_us: float
    renew_us: float
    release_us: float
    publish_us: float
    publish_change_us: float
    read_us: float
    read_change_us: float
    claim_bytes: float
    change_sent_bytes: float
    change_read_bytes: float
    ask_bytes: float
    snapshot_bytes: float
    node_call_us: float
    node_tell_us: float
    node_hear_us: float
    node_match_us: float
    node_ledger_us: float
    way_ms: float
    write_units: float


def load(file: Path = FILE) -> Calibration:
    return Calibration(**tomllib.loads(file.read_text()))


def save(calibration: Calibration, file: Path = FILE) -> None:
    lines = [f"{name} = {_text(value)}\n" for name, value in asdict(calibration).items()]
    file.write_text(_HEAD + "".join(lines))


def names() -> list[str]:
    return [field.name for field in fields(Calibration)]


def _text(value: str | float) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:.4g}"
