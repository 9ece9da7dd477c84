"""`python -m tests.simulation --seed 7 --steps 2000`, or `--seeds 1-10000` over all cores."""

import sys

from tests.simulation.command import run_command
from tests.simulation.run import simulate

sys.exit(run_command("tests.simulation", str(__doc__), simulate, steps=200))
