"""What the dashboard takes from others is what its lock file says."""

import subprocess
import sys


def test_vendored_files_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "tools/vendor_dashboard.py", "--check"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
