"""`python -m tests.simulation.payments --seed 7 --steps 100`, or `--seeds 1-1000` over all cores."""

import sys

from tests.simulation.__main__ import main
from tests.simulation.payments_run import simulate

if __name__ == "__main__":
    sys.exit(main(simulate, steps=100))
