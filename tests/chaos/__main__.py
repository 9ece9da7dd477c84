"""`python -m tests.chaos [--seconds 150] [--seed 7] [--only flush]`: exit status 0 only if every promise was kept."""

import argparse
import logging
import os
import sys

import uvloop

from tests.chaos import report
from tests.chaos.faults import FAULTS, NOTHING
from tests.chaos.run import Plan, run
from tests.servers.dynamodb_local import CREDENTIALS, dynamodb_local


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=150, help="of load in all, over all faults")
    parser.add_argument("--seed", type=int, default=7, help="of what callers do, and when")
    parser.add_argument("--callers", type=int, default=200, help="clients at once")
    parser.add_argument("--rate", type=float, default=25, help="orders a second of all of them")
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    chosen = parser.parse_args()
    faults = [fault for fault in FAULTS if chosen.only.lower() in fault.name.lower()]
    if not faults:
        parser.error(f"--only: no fault is called so; there are: {', '.join(fault.name for fault in FAULTS)}")
    logging.basicConfig(level=logging.CRITICAL)
    os.environ.update(CREDENTIALS)
    phase_s = chosen.seconds / (len(faults) + 2) / 2
    good = True
    with dynamodb_local() as endpoint:
        for replicated in (False, True):
            some = [fault for fault in faults if fault.replicated is replicated]
            if some:
                plan = Plan([NOTHING, *some], phase_s, chosen.seed, callers=chosen.callers, rate=chosen.rate)
                outcome = uvloop.run(run(plan, endpoint))
                report.tell(outcome)
                good &= report.is_good(outcome)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
