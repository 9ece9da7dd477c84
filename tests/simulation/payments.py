"""`python -m tests.simulation.payments --seed 7 --steps 1000`, or `--seeds 1-1000` over all cores."""

import sys

from tests.simulation.command import run_command
from tests.simulation.payments_run import simulate

if __name__ == "__main__":
    sys.exit(run_command("tests.simulation.payments", str(__doc__), simulate, steps=100))
