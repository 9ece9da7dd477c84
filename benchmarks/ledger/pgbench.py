"""The peer without Python: the same two procedures called by PostgreSQL's own load generator, which is written in C."""

import re
import tempfile
from pathlib import Path

from benchmarks.ledger.postgres import PeerMissing, run_program
from benchmarks.ledger.workload import FEE_ATOMS, FINGERPRINT, HOLD_ATOMS, NOW_MS, TERMS, USAGE_ATOMS

_ORDER = "'p' || (:number::int8)::text"
_USER, _PROVIDER = "'user-' || (:client_id::int8 % 64)", "'provider-' || (:number::int8 % 8)"
_SCRIPT = f"""\\set number random(1, 4611686018427387903)
SELECT open_hold({_ORDER}, {_USER}, {_PROVIDER}, {HOLD_ATOMS}, {NOW_MS}, {NOW_MS + 60_000}, '{TERMS}', '{FINGERPRINT}');
SELECT settle_hold({_ORDER}, {_USER}, {_PROVIDER}, {HOLD_ATOMS}, {USAGE_ATOMS}, {FEE_ATOMS}, {NOW_MS}, '{FINGERPRINT}',
    (:number::int8 % 16)::int4);
"""


def pgbench_pairs(socket: str, callers: int, seconds: float) -> float:
    """Pairs a second of `callers` connections with prepared statements. Raises PeerMissing."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        script = Path(folder, "pair.sql")
        # It takes a statement to end with its line.
        script.write_text(re.sub(r",\n +", ", ", _SCRIPT))
        script.chmod(0o644)
        load = ["-n", "-M", "prepared", "-c", str(callers), "-j", "2", "-T", str(max(1, round(seconds)))]
        said = run_program("pgbench", *load, "-h", socket, "-U", "bench", "-f", str(script), "postgres")
    found = re.search(r"^tps = ([0-9.]+)", said, re.MULTILINE)
    if not found:
        raise PeerMissing(f"pgbench said no rate: {said}")
    return float(found[1])
